"""What a world model is fitted by."""

import tensorflow as tf


def prediction_loss(model, normalizer, states, actions, weights=None, training=False):
  """Mean squared error of the predicted states, in units of their running spread.

  Args:
    model: `SequenceModel`.
    normalizer: its `Normalizer`.
    states: [B, T+1, n], the true states.
    actions: [B, T, m].
    weights: [B] of the trajectories, or None.
    training: True turns dropout on, where the model has any.

  Returns:
    A scalar.
  """
  predicted = model.predict_teacher_forced(states, actions, training)
  error = normalizer.normalize(predicted) - normalizer.normalize(states[:, 1:])
  squares = tf.reduce_mean(error**2, [1, 2])  # [B]
  return tf.reduce_mean(squares if weights is None else weights * squares)
