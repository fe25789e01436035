"""The contract of every world model g: (s_0, a_0 .. a_{T-1}) -> s_1 .. s_T.

A world model answers three questions and gives one answer: `call` predicts a
whole sequence at once, `start` and `step` predict it one step at a time with a
policy in the loop, `predict_teacher_forced` is what training compares with data.
`call` equals the unrolled `step`, and no action reaches an earlier state.
A carry that grows with every step (a transformer's cache) may be extended stretch by
stretch, so that early steps do not pay for late ones.
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
    return self.unroll(initial_state, actions.shape[0], lambda state, t: actions[t])

  def unroll(self, initial_state, horizon, act):
    """Predicts a trajectory step by step, with a policy in the loop.

    Args:
      initial_state: [B, n], s_0.
      horizon: T.
      act: function (s_t [B, n] as predicted, scalar t) -> a_t [B, m].

    Returns:
      [B, T, n], the predictions of s_1 .. s_T.
    """
    state, carry, predicted = initial_state, None, []
    for begin in range(0, horizon, self.stretch(horizon)):
      steps = min(self.stretch(horizon), horizon - begin)
      carry = self.start(initial_state, steps) if begin == 0 else self.extend(carry, steps)
      state, carry, states = self._stretch_of(state, carry, begin, steps, act)
      predicted.append(states)
    return tf.transpose(tf.concat(predicted, 0), [1, 0, 2])

  def _stretch_of(self, state, carry, begin, steps, act):
    """s_{begin+steps}, the carry there, and s_{begin+1} .. s_{begin+steps} [steps, B, n]."""
    def body(k, state, carry, states):
      state, carry = self.step(carry, act(state, begin + k), begin + k)
      return k + 1, state, carry, states.write(k, state)

    states = tf.TensorArray(state.dtype, steps, element_shape=state.shape)
    _, state, carry, states = tf.while_loop(
        lambda k, *_: k < steps, body, (0, state, carry, states), maximum_iterations=steps)
    return state, carry, states.stack()

  def start(self, initial_state, horizon):
    """The carry (a nest of tensors) from which `step` goes on at t = 0.

    Args:
      initial_state: [B, n], s_0.
      horizon: an upper bound of the number of steps to come before `extend`.
    """
    raise NotImplementedError

  def extend(self, carry, steps):
    """The carry with room for `steps` more, once all that it had room for are taken."""
    del steps
    return carry

  def stretch(self, horizon):
    """Steps after which `unroll` extends the carry; by default all of them."""
    return horizon

  def step(self, carry, action, t):
    """Predicts one step: carry, action [B, m], scalar t -> s_{t+1} [B, n], carry."""
    raise NotImplementedError

  def predict_teacher_forced(self, states, actions, training=False):
    """Predicts s_1 .. s_T, [B, T, n], from true states [B, T+1, n] and actions [B, T, m].

    An action-sequence model sees the first state alone, which is this default;
    Markov and history models are fed every true state.
    """
    return self(states[:, 0], actions, training=training)
