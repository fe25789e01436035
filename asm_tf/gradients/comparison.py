"""How similar two gradients are.

A gradient is a list of tensors, one per variable. Each is divided by its largest entry
before anything is squared, so that exploding gradients can be compared too.
"""

from collections.abc import Sequence

import tensorflow as tf

Gradient = Sequence[tf.Tensor]


def cosine_similarity(first: Gradient, second: Gradient) -> tf.Tensor:
  """The cosine of the angle between two gradients, a scalar; NaN where one is 0."""
  (a, _), (b, _) = _flat(first), _flat(second)
  return tf.reduce_sum(a * b) / (tf.norm(a) * tf.norm(b))


def relative_error(gradient: Gradient, reference: Gradient) -> tf.Tensor:
  """|gradient - reference| / |reference|, a scalar."""
  (vector, size), (true, unit) = _flat(gradient), _flat(reference)
  return tf.norm(vector * (size / unit) - true) / tf.norm(true)


def log_norm(gradient: Gradient) -> tf.Tensor:
  """The natural logarithm of the Euclidean norm, a scalar; -inf where it is 0."""
  vector, size = _flat(gradient)
  return tf.math.log(size) + tf.math.log(tf.norm(vector))


def _flat(gradient):
  """The gradient as one vector of largest entry 1, and what it was divided by."""
  vector = tf.concat([tf.reshape(part, [-1]) for part in gradient], 0)
  size = tf.reduce_max(tf.abs(vector))
  return tf.math.divide_no_nan(vector, size), size
