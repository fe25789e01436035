"""History-sequence models: s_{t+1} = g(s_0, a_0, .., s_t, a_t) (paper, Section 4.3).

Any action-sequence model becomes one when it is given the pair (s_t, a_t) for the
action. Training feeds it the true states (teacher forcing); predicting, it is fed
its own, and then the gradient flows through them as through a one-step model.
"""

import tensorflow as tf

from asm_tf.models.sequence_model import SequenceModel


class HistoryModel(SequenceModel):
  """A sequence model of states and actions."""

  def __init__(self, normalizer, state_size, action_size, sequence_model,
               stop_feedback_gradient=False, dtype='float32'):
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

  def trajectories_at_once(self, horizon):
    return self._sequence_model.trajectories_at_once(horizon)

  def start(self, initial_state, horizon):
    return initial_state, self._sequence_model.start(initial_state, horizon)

  def extend(self, carry, steps):
    state, carry = carry
    return state, self._sequence_model.extend(carry, steps)

  def stretch(self, horizon):
    return self._sequence_model.stretch(horizon)

  def step(self, carry, action, t):
    state, carry = carry
    if self._stop_feedback_gradient:
      state = tf.stop_gradient(state)
    state, carry = self._sequence_model.step(carry, self._pair(state, action), t)
    return state, (state, carry)

  def predict_teacher_forced(self, states, actions, training=False):
    return self._sequence_model(
        states[:, 0], self._pair(states[:, :-1], actions), training=training)

  def _pair(self, state, action):
    return tf.concat([self._normalizer.normalize(state), action], -1)
