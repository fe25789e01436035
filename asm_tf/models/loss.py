"""The loss of a world model."""

import tensorflow as tf

from asm_tf.errors import UserError
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel

LOSS_WEIGHTINGS = ('uniform', 'inverse_time')


def require_loss_weighting(name: str, value: str) -> None:
  """Raises `UserError` unless the binding `name` holds one of `LOSS_WEIGHTINGS`."""
  if value not in LOSS_WEIGHTINGS:
    raise UserError(f'{name} is {value!r}: give one of {", ".join(LOSS_WEIGHTINGS)}.')


def prediction_loss(model: SequenceModel, normalizer: Normalizer, states: tf.Tensor,
                    actions: tf.Tensor, weights: tf.Tensor | None = None,
                    loss_weighting: str = 'uniform', training: bool = False) -> tf.Tensor:
  """Mean squared error of the predicted states, in units of their running spread.

  Args:
    model: world model.
    normalizer: its `Normalizer`.
    states: [B, T+1, n], the true states.
    actions: [B, T, m].
    weights: [B, T], one per step; None weights all alike.
    loss_weighting: 'uniform' weights every step alike, as in the paper. 'inverse_time'
      weights the error of s_t by 1/t, so that every doubling of t contributes the same. A
      model that must carry one action over a long horizon learns to do so from the first
      steps, which are only 1/T of the uniform mean.
    training: True turns dropout on, where the model has any.

  Returns:
    A scalar.
  """
  predicted = model.predict_teacher_forced(states, actions, training)
  error = normalizer.normalize(predicted) - normalizer.normalize(states[:, 1:])
  squares = tf.reduce_mean(error**2, 2)  # [B, T]
  if loss_weighting == 'inverse_time':
    step_weights = 1 / tf.range(1, squares.shape[1] + 1, dtype=squares.dtype)
    squares *= step_weights / tf.reduce_mean(step_weights)
  return tf.reduce_mean(squares if weights is None else weights * squares)


def mask_weights(mask: tf.Tensor) -> tf.Tensor:
  """Returns weights [...] of mean 1 for a mask [...]: equal where it is true, 0 elsewhere."""
  mask = tf.cast(mask, tf.float32)
  return tf.math.divide_no_nan(mask, tf.reduce_mean(mask))
