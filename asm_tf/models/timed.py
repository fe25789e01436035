"""A model, and a policy, in windows that begin anywhere in an episode."""

from collections.abc import Sequence

import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.unrolling import Carry
from asm_tf.models.wrapped import WrappedModel


class TimedModel(WrappedModel):
  """A model of windows, from step t_0 of the episode on.

  A model of windows counts the steps of the window. It is given the time features of t_0 + t
  beside the action.
  """

  def __init__(self, model: SequenceModel, normalizer: Normalizer, first_step: tf.Tensor):
    """Wraps a built model.

    Args:
      model: takes actions [m + time_size].
      normalizer: of the time in the episode.
      first_step: [B], t_0.
    """
    super().__init__(model, 'timed')
    self._normalizer = normalizer
    self._first_step = first_step

  def call(self, initial_state: tf.Tensor, actions: tf.Tensor,
           training: bool = False) -> tf.Tensor:
    return self._model(initial_state, self._with_times(actions), training=training)

  def predict_teacher_forced(self, states: tf.Tensor, actions: tf.Tensor,
                             training: bool = False) -> tf.Tensor:
    return self._model.predict_teacher_forced(states, self._with_times(actions), training)

  def step(self, carry: Carry, action: tf.Tensor, t: tf.Tensor) -> tuple[tf.Tensor, Carry]:
    return self._model.step(carry, self._with_time(action, t), t)

  def step_with_residuals(self, carry: Carry, action: tf.Tensor,
                          t: tf.Tensor) -> tuple[tf.Tensor, Carry, list[tf.Tensor]]:
    return self._model.step_with_residuals(carry, self._with_time(action, t), t)

  def call_with_residuals(self, initial_state: tf.Tensor, actions: tf.Tensor,
                          residuals: Sequence[tf.Tensor]) -> tf.Tensor:
    return self._model.call_with_residuals(initial_state, self._with_times(actions), residuals)

  def _with_time(self, action, t):
    return self._normalizer.join(action, t=steps_from(self._first_step, t))

  def _with_times(self, actions):
    return self._with_time(actions, tf.range(actions.shape[1]))


class ActorFromStep:
  """A policy in windows that begin at step t_0 [B] of the episode.

  Attributes:
    trainable_variables: of the policy.
  """

  def __init__(self, actor: tf.keras.Model, first_step: tf.Tensor):
    self.trainable_variables = actor.trainable_variables
    self._actor = actor
    self._first_step = first_step

  def __call__(self, state: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """state [B, ..., n] and a scalar t, or t [T], of the window -> mu, log sigma."""
    return self._actor(state, steps_from(self._first_step, t))


def steps_from(first_step: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
  """Returns t_0 + t for t_0 [B]: [B] for a scalar t, [B, T] for t [T]."""
  t = tf.convert_to_tensor(t)
  return first_step + t if t.shape.rank == 0 else first_step[:, None] + t
