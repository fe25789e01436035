"""The contract of every world model g: (s_0, a_0 .. a_{T-1}) -> s_1 .. s_T.

A world model answers three questions and gives one answer: `call` predicts a
whole sequence at once, `start` and `step` predict it one step at a time with a
policy in the loop, `predict_teacher_forced` is what training compares with data.
`call` equals the unrolled `step`, and no action reaches an earlier state.
A carry that grows with every step (a transformer's cache) may be extended stretch by
stretch, so that early steps do not pay for late ones. What a step forms and a backward
pass needs may be kept: `call_again` then differentiates the whole sequence without
forming it a second time.
"""

import tensorflow as tf


# Every chunk is compiled apart.
_MOST_CHUNKS = 10


def chunks(steps, length):
  """[(begin, end)] of a sequence in chunks of `length` steps, longer ones where they would be many.

  On a CPU the arrays of a chunk stay in the cache from one layer, and from one pass, to the next.
  """
  length = max(length, -(-steps // _MOST_CHUNKS))
  return [(begin, min(begin + length, steps)) for begin in range(0, steps, length)]


def has_accelerator():
  """Whether TensorFlow has a GPU or a TPU here."""
  return any(tf.config.list_logical_devices(kind) for kind in ('GPU', 'TPU'))


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
    return self._unroll(initial_state, horizon, act, lambda *now: (*self.step(*now), ()), ())[0]

  def unroll_keeping(self, initial_state, horizon, act):
    """As `unroll`, and a list of what was kept, tensors [T, B, k], for `call_again`."""
    return self._unroll(initial_state, horizon, act, self.step_keeping, self.kept_sizes)

  def call_again(self, initial_state, actions, kept):
    """`call` with the actions of an `unroll_keeping` and what that kept; differentiable."""
    del kept
    return self(initial_state, actions)

  def _unroll(self, initial_state, horizon, act, step, kept_sizes):
    """As `unroll_keeping`, with `step` in place of `step_keeping`."""
    carry = self.start(initial_state, min(self.stretch(horizon), horizon))
    loop, stretches = (initial_state, carry), []
    batch, size = initial_state.shape
    sizes = [size, *kept_sizes]
    for begin in range(0, horizon, self.stretch(horizon)):
      steps = min(self.stretch(horizon), horizon - begin)
      if begin > 0:
        loop = loop[0], self.extend(loop[1], steps)

      def body(k, state, carry, rows, begin=begin):
        state, carry, kept = step(carry, act(state, begin + k), begin + k)
        return k + 1, state, carry, rows.write(k, tf.concat([state, *kept], -1))

      rows = tf.TensorArray(initial_state.dtype, steps, element_shape=[batch, sum(sizes)])
      _, *loop, rows = tf.while_loop(
          lambda k, *_, steps=steps: k < steps, body, (0, *loop, rows), maximum_iterations=steps)
      stretches.append(rows.stack())
    states, *kept = tf.split(tf.concat(stretches, 0), sizes, -1)
    return tf.transpose(states, [1, 0, 2]), kept

  def trajectories_at_once(self, horizon):
    """How many a CPU core had best be trained on at once; None for any number."""
    del horizon
    return None

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

  # Widths k of what `step_keeping` keeps.
  kept_sizes = ()

  def step_keeping(self, carry, action, t):
    """As `step`, and a list of what `call_again` needs of it, tensors [B, k]."""
    return *self.step(carry, action, t), []

  def predict_teacher_forced(self, states, actions, training=False):
    """Predicts s_1 .. s_T, [B, T, n], from true states [B, T+1, n] and actions [B, T, m].

    An action-sequence model sees the first state alone, which is this default;
    Markov and history models are fed every true state.
    """
    return self(states[:, 0], actions, training=training)
