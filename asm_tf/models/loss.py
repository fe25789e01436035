"""What a world model is fitted by."""

import tensorflow as tf


def prediction_loss(model, normalizer, states, actions, weights=None, octaves_alike=False,
                    training=False):
  """Mean squared error of the predicted states, in units of their running spread.

  Args:
    model: `SequenceModel`.
    normalizer: its `Normalizer`.
    states: [B, T+1, n], the true states.
    actions: [B, T, m].
    weights: [B] of the trajectories or [B, T] of their steps, or None.
    octaves_alike: False weighs every step alike, as in the paper. True weighs the error
      of s_t by 1/t, so that each doubling of t counts the same: a model that must carry
      one action over a long horizon can only learn to from the first steps, which are
      1/T of the plain mean.
    training: True turns dropout on, where the model has any.

  Returns:
    A scalar.
  """
  predicted = model.predict_teacher_forced(states, actions, training)
  error = normalizer.normalize(predicted) - normalizer.normalize(states[:, 1:])
  squares = tf.reduce_mean(error**2, 2)  # [B, T]
  if octaves_alike:
    step_weights = 1 / tf.range(1, squares.shape[1] + 1, dtype=squares.dtype)
    squares *= step_weights / tf.reduce_mean(step_weights)
  if weights is not None and len(weights.shape) == 2:
    return tf.reduce_mean(weights * squares)
  squares = tf.reduce_mean(squares, 1)  # [B]
  return tf.reduce_mean(squares if weights is None else weights * squares)


def step_weights(mask, dtype=tf.float32):
  """Weights whose mean is 1, [...], of a mask [...]: none where it is false, alike elsewhere."""
  mask = tf.cast(mask, dtype)
  return tf.math.divide_no_nan(mask, tf.reduce_mean(mask))
