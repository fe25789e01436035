"""The step that a policy acts at."""

import tensorflow as tf


def acting_step(t: tf.Tensor | int, horizon: int) -> tf.Tensor:
  """Returns t, at most H-1: drivers ask for an action at step H too, and throw it away."""
  return tf.minimum(tf.cast(t, tf.int32), horizon - 1)
