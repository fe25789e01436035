"""How alike two gradients are.

A gradient is a list of tensors, one a variable. Each is divided by its largest entry
before anything is squared, so that exploding gradients can be compared too.
"""

import tensorflow as tf


def cosine_similarity(first, second):
  """The cosine of the angle between two gradients, a scalar; NaN where one is 0."""
  (first, _), (second, _) = _flat(first), _flat(second)
  return tf.reduce_sum(first * second) / (tf.norm(first) * tf.norm(second))


def relative_error(gradient, reference):
  """|gradient - reference| / |reference|, a scalar."""
  (gradient, size), (reference, unit) = _flat(gradient), _flat(reference)
  return tf.norm(gradient * (size / unit) - reference) / tf.norm(reference)


def log_norm(gradient):
  """The natural logarithm of the Euclidean norm, a scalar; -inf where it is 0."""
  gradient, size = _flat(gradient)
  return tf.math.log(size) + tf.math.log(tf.norm(gradient))


def _flat(gradient):
  """The gradient as one vector of largest entry 1, and what it was divided by."""
  vector = tf.concat([tf.reshape(part, [-1]) for part in gradient], 0)
  size = tf.reduce_max(tf.abs(vector))
  return tf.math.divide_no_nan(vector, size), size
