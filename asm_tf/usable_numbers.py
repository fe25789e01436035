"""Which numbers can be learned from."""

import tensorflow as tf

# In float32 squares overflow beyond 1.8e19, and their sums over steps and episodes before.
LARGEST = 1e12


def are_usable(values: tf.Tensor) -> tf.Tensor:
  """Returns where values are numbers, and small enough for their squares to be summed."""
  return tf.abs(values) < LARGEST
