"""History-sequence models: s_{t+1} = g(s_0, a_0, .., s_t, a_t) (paper, Section 4.3).

Any action-sequence model becomes one when it is given the pair (s_t, a_t) for the
action. Training feeds it the true states (teacher forcing); predicting, it is fed
its own, and then the gradient flows through them as through a one-step model.
"""

from collections.abc import Callable

import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.unrolling import Carry


class HistoryModel(SequenceModel):
  """A sequence model of states and actions."""

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               sequence_model: Callable[..., SequenceModel], stop_feedback_gradient: bool = False,
               dtype: str = 'float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time.
      state_size: n.
      action_size: m.
      sequence_model: class of the `SequenceModel` that is fed the pairs, `LSTM` for
        example.
      stop_feedback_gradient: True cuts the gradient through the predicted states
        that are fed back; it then reaches the actions through the pairs alone.
      dtype: 'float32' or 'float64'.
    """
    super().__init__(name='history', dtype=dtype)
    self._normalizer = normalizer
    self._stop_feedback_gradient = stop_feedback_gradient
    self._sequence_model = sequence_model(
        normalizer, state_size, state_size + action_size, dtype=dtype)

  def microbatch_size(self, horizon: int) -> int | None:
    return self._sequence_model.microbatch_size(horizon)

  def start(self, initial_state: tf.Tensor, horizon: int) -> Carry:
    return initial_state, self._sequence_model.start(initial_state, horizon)

  def grow_cache(self, carry: Carry, steps: int) -> Carry:
    state, carry = carry
    return state, self._sequence_model.grow_cache(carry, steps)

  def cache_block(self, horizon: int) -> int:
    return self._sequence_model.cache_block(horizon)

  def step(self, carry: Carry, action: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, Carry]:
    state, carry = carry
    if self._stop_feedback_gradient:
      state = tf.stop_gradient(state)
    state, carry = self._sequence_model.step(carry, self._pair(state, action), t)
    return state, (self._normalizer.bound(state), carry)

  def predict_teacher_forced(self, states: tf.Tensor, actions: tf.Tensor,
                             training: bool = False) -> tf.Tensor:
    return self._sequence_model(
        states[:, 0], self._pair(states[:, :-1], actions), training=training)

  def _pair(self, state, action):
    return tf.concat([self._normalizer.normalize(state), action], -1)
