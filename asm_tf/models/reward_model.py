"""A learned reward r(s, a, t) (paper, Appendix C)."""

import tensorflow as tf

from asm_tf.errors import require_sizes
from asm_tf.models.products import Dense
from asm_tf.models.running_moments import RunningMoments


class RewardModel(tf.keras.Model):
  """An MLP, in the place of a system's own reward."""

  def __init__(self, normalizer, state_size, action_size, hidden_sizes=(64, 64), scale=True,
               dtype='float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time.
      state_size: n.
      action_size: m.
      hidden_sizes: widths of the ReLU layers.
      scale: predict in units of the rewards' running spread.
      dtype: 'float32' or 'float64'.
    """
    require_sizes(hidden_sizes=hidden_sizes)
    super().__init__(name='reward', dtype=dtype)
    self._normalizer = normalizer
    self._moments = RunningMoments(1, dtype) if scale else None
    self._hidden = [Dense(size, 'relu', dtype=dtype, name=f'hidden_{i}')
                    for i, size in enumerate(hidden_sizes)]
    self._read_out = tf.keras.layers.Dense(1, dtype=dtype, name='read_out')
    self(tf.zeros([1, state_size], dtype), tf.zeros([1, action_size], dtype),
         tf.zeros([1], tf.int32))

  def observe(self, rewards, steps=None):
    """Takes the rewards [...] of new episodes, at `steps` [...] if given, into the moments."""
    if self._moments is not None:
      self._moments.update(tf.reshape(rewards, [-1, 1]),
                           None if steps is None else tf.reshape(steps, [-1]))

  def call(self, states, actions, t):
    """The reward [...] of states [..., n], actions [..., m] and steps t, broadcastable."""
    reward = self._scaled(states, actions, t)
    if self._moments is not None:
      reward = reward * self._moments.std[0] + self._moments.mean[0]
    return reward

  def loss(self, states, actions, t, rewards, weights=None):
    """Mean squared error, in units of the rewards' spread, with weights [...] if given."""
    if self._moments is not None:
      rewards = (rewards - self._moments.mean[0]) / self._moments.std[0]
    squares = (self._scaled(states, actions, t) - rewards) ** 2
    return tf.reduce_mean(squares if weights is None else weights * squares)

  def _scaled(self, states, actions, t):
    x = self._normalizer.join(self._normalizer.normalize(states), actions, t=t)
    for layer in self._hidden:
      x = layer(x)
    return self._read_out(x)[..., 0]
