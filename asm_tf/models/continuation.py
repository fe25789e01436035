"""Termination in imagined returns (after DreamerV2; Hafner et al., 2021).

    c(s, t) = P(the episode continues from s at t)
    J = sum_t r(s_t, a_t, t) prod_{0 < k <= t} c(s_k, k)

c is learned by binary cross-entropy on the states that were visited: 0 where the environment
ended the episode, 1 elsewhere. Without it the imagined states would earn rewards for ever,
and a task that consists in surviving would leave nothing to learn from.
"""

from collections.abc import Sequence

import tensorflow as tf

from asm_tf.errors import require_sizes
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.products import Dense
from asm_tf.models.reward_model import RewardModel


class ContinuationModel(tf.keras.Model):
  """An MLP from (state, time) to the logit of c."""

  def __init__(self, normalizer: Normalizer, state_size: int,
               hidden_sizes: Sequence[int] = (64, 64), dtype: str = 'float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time.
      state_size: n.
      hidden_sizes: widths of the ReLU layers.
      dtype: 'float32' or 'float64'.
    """
    require_sizes(hidden_sizes=hidden_sizes)
    super().__init__(name='continuation', dtype=dtype)
    self._normalizer = normalizer.resolving_steps()
    self._hidden = [Dense(size, 'relu', dtype=dtype, name=f'hidden_{i}')
                    for i, size in enumerate(hidden_sizes)]
    self._read_out = tf.keras.layers.Dense(1, dtype=dtype, name='read_out')
    self(tf.zeros([1, state_size], dtype), tf.zeros([1], tf.int32))

  def call(self, states: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
    """Predicts the logit of c, [...], for states [..., n] and steps t, broadcastable."""
    x = self._normalizer.join(self._normalizer.normalize(states), t=t)
    for layer in self._hidden:
      x = layer(x)
    return self._read_out(x)[..., 0]

  def loss(self, states: tf.Tensor, t: tf.Tensor | int, continues: tf.Tensor,
           weights: tf.Tensor) -> tf.Tensor:
    """Mean binary cross-entropy (nats).

    Args:
      states: [B, T, n].
      t: [B, T] or [T].
      continues: [B, T], 0 where the episode ended in the state, else 1.
      weights: [B, T], of mean 1, 0 where no state was visited.
    """
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(continues, self(states, t))
    return tf.reduce_mean(weights * entropy)


class RewardUntilTermination(tf.keras.Model):
  """A `RewardModel` whose rewards are weighted by the probability of reaching them."""

  def __init__(self, reward: RewardModel, continuation: ContinuationModel):
    """Builds the product.

    Args:
      reward: `RewardModel`.
      continuation: `ContinuationModel`.
    """
    super().__init__(name='reward_until_termination', dtype=reward.dtype)
    self.reward = reward
    self.continuation = continuation

  def call(self, states: tf.Tensor, actions: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
    """Rewards [B, T] of states [B, T, n], actions [B, T, m] and steps t [T] or [B, T].

    They are those of one sequence: the first state is certain to be reached.
    """
    return self.reward(states, actions, t) * self.reached(states, t)

  def reached(self, states: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
    """The probability [B, T] of reaching each of the states [B, T, n] of a sequence."""
    log_c = tf.math.log_sigmoid(self.continuation(states, t))[:, 1:]
    # The product by logarithms, which stay finite where c underflows.
    return tf.exp(tf.pad(tf.cumsum(log_c, 1), [[0, 0], [1, 0]]))
