"""The contract of every world model g: (s_0, a_0 .. a_{T-1}) -> s_1 .. s_T.

A world model answers three questions and gives one answer: `call` predicts a
whole sequence at once, `start` and `step` predict it one step at a time with a
policy in the loop, `predict_teacher_forced` is what training compares with data.
`call` equals the unrolled `step`, and no action reaches an earlier state.
"""

import tensorflow as tf


class SequenceModel(tf.keras.Model):
  """Base class of action-sequence, history-sequence and Markov models.

  A subclass writes `start` and `step`. An architecture that is parallel in time
  writes `call` too; the others unroll `step`, which is this class's `call`.
  """

  def call(self, initial_state, actions, training=False):
    """Predicts a trajectory; differentiable in the actions.

    Args:
      initial_state: [B, n], s_0.
      actions: [B, T, m], a_0 .. a_{T-1}.
      training: True turns dropout on, where the model has any.

    Returns:
      [B, T, n], the predictions of s_1 .. s_T.
    """
    actions = tf.transpose(actions, [1, 0, 2])  # [T, B, m]
    horizon = actions.shape[0]

    def body(t, carry, states):
      state, carry = self.step(carry, actions[t], t)
      return t + 1, carry, states.write(t, state)

    states = tf.TensorArray(initial_state.dtype, horizon, element_shape=initial_state.shape)
    *_, states = tf.while_loop(
        lambda t, *_: t < horizon, body, (0, self.start(initial_state, horizon), states),
        maximum_iterations=horizon)
    return tf.transpose(states.stack(), [1, 0, 2])

  def start(self, initial_state, horizon):
    """The carry (a nest of tensors) from which `step` goes on at t = 0.

    Args:
      initial_state: [B, n], s_0.
      horizon: T, an upper bound of the number of steps to come.
    """
    raise NotImplementedError

  def step(self, carry, action, t):
    """Predicts one step: carry, action [B, m], scalar t -> s_{t+1} [B, n], carry."""
    raise NotImplementedError

  def predict_teacher_forced(self, states, actions, training=False):
    """Predicts s_1 .. s_T, [B, T, n], from true states [B, T+1, n] and actions [B, T, m].

    An action-sequence model sees the first state alone, which is this default;
    Markov and history models are fed every true state.
    """
    return self(states[:, 0], actions, training=training)
