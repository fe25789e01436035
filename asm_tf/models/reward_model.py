"""A learned reward r(s, a, t) (paper, Appendix C)."""

from collections.abc import Sequence

import tensorflow as tf

from asm_tf.errors import require_sizes
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.observed_range import ObservedRange
from asm_tf.models.products import Dense
from asm_tf.models.running_moments import RunningMoments


class RewardModel(tf.keras.Model):
  """An MLP, in the place of a system's own reward."""

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               hidden_sizes: Sequence[int] = (64, 64), dtype: str = 'float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time. Where it is enabled, the model predicts in
        units of the rewards' running spread.
      state_size: n.
      action_size: m.
      hidden_sizes: widths of the ReLU layers.
      dtype: 'float32' or 'float64'.
    """
    require_sizes(hidden_sizes=hidden_sizes)
    super().__init__(name='reward', dtype=dtype)
    self._normalizer = normalizer.resolving_steps()
    self._moments = RunningMoments(1, dtype) if normalizer.enabled else None
    self._range = ObservedRange(1, dtype)
    self._hidden = [Dense(size, 'relu', dtype=dtype, name=f'hidden_{i}')
                    for i, size in enumerate(hidden_sizes)]
    self._read_out = tf.keras.layers.Dense(1, dtype=dtype, name='read_out')
    self(tf.zeros([1, state_size], dtype), tf.zeros([1, action_size], dtype),
         tf.zeros([1], tf.int32))

  def observe(self, rewards: tf.Tensor, mask: tf.Tensor | None = None) -> None:
    """Takes the rewards [...] of new episodes, where `mask` [...] is true, into the scales."""
    rows = tf.reshape(rewards, [-1, 1])
    mask = tf.fill(tf.shape(rows)[:1], True) if mask is None else tf.reshape(mask, [-1])
    if self._moments is not None:
      self._moments.update(rows, mask)
    self._range.update(rows, mask)

  def call(self, states: tf.Tensor, actions: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
    """Predicts the reward [...] of states [..., n], actions [..., m] and steps t, broadcastable.

    It is bounded to the rewards that were observed where the normaliser bounds states.
    """
    reward = self._scaled(states, actions, t)
    if self._moments is not None:
      reward = reward * self._moments.std[0] + self._moments.mean[0]
    if self._normalizer.margin is None:
      return reward
    return self._range.bound(reward[..., None], self._normalizer.margin)[..., 0]

  def loss(self, states: tf.Tensor, actions: tf.Tensor, t: tf.Tensor | int, rewards: tf.Tensor,
           weights: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the mean squared error in units of the rewards' spread, with weights [...] if any."""
    if self._moments is not None:
      rewards = (rewards - self._moments.mean[0]) / self._moments.std[0]
    squares = (self._scaled(states, actions, t) - rewards) ** 2
    return tf.reduce_mean(squares if weights is None else weights * squares)

  def _scaled(self, states, actions, t):
    x = self._normalizer.join(self._normalizer.normalize(states), actions, t=t)
    for layer in self._hidden:
      x = layer(x)
    return self._read_out(x)[..., 0]
