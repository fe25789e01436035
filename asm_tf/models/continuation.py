"""Termination in imagined returns (after DreamerV2; Hafner et al., 2021).

    c(s, t) = P(the episode continues from s at t)
    J = sum_t r(s_t, a_t, t) prod_{k <= t} c(s_k, k)

c is learned by binary cross-entropy on the states that were visited: 0 where the episode
ended before step H, 1 elsewhere. Without it the imagined states would earn rewards for ever,
and a task that consists in surviving would leave nothing to learn from.
"""

from collections.abc import Sequence

import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
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
    super().__init__(name='continuation', dtype=dtype)
    self._normalizer = normalizer
    self._hidden = [tf.keras.layers.Dense(size, 'relu', dtype=dtype, name=f'hidden_{i}')
                    for i, size in enumerate(hidden_sizes)]
    self._read_out = tf.keras.layers.Dense(1, dtype=dtype, name='read_out')
    self(tf.zeros([1, state_size], dtype), tf.zeros([1], tf.int32))

  def call(self, states: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
    """Predicts the logit of c, [...], for states [..., n] and steps t, broadcastable."""
    x = self._normalizer.join(self._normalizer.normalize(states), t=t)
    for layer in self._hidden:
      x = layer(x)
    return self._read_out(x)[..., 0]

  def loss(self, states: tf.Tensor, t: tf.Tensor | int, steps: tf.Tensor,
           visited_weights: tf.Tensor) -> tf.Tensor:
    """Mean binary cross-entropy (nats) over the states that were visited.

    Args:
      states: [B, H, n], s_0 .. s_{H-1}, padded.
      t: [H].
      steps: [B, H], whether step t was taken from s_t.
      visited_weights: [B, H], the `mask_weights` of the states that were visited.
    """
    logits = self(states, t)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(steps, logits.dtype), logits)
    return tf.reduce_mean(visited_weights * entropy)


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

  def observe(self, rewards: tf.Tensor, mask: tf.Tensor | None = None) -> None:
    """See `RewardModel`."""
    self.reward.observe(rewards, mask)

  def call(self, states: tf.Tensor, actions: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
    """Rewards [B, H] of states [B, H, n], actions [B, H, m] and steps t [H] = 0, 1, ..

    t must start at 0, with s_0: the product over c begins with the first state given.
    """
    log_c = tf.math.log_sigmoid(self.continuation(states, t))
    # The product by logarithms, which stay finite where c underflows.
    return self.reward(states, actions, t) * tf.exp(tf.cumsum(log_c, 1))

  def loss(self, states: tf.Tensor, actions: tf.Tensor, t: tf.Tensor | int, rewards: tf.Tensor,
           steps: tf.Tensor, taken_weights: tf.Tensor, visited_weights: tf.Tensor) -> tf.Tensor:
    """The reward model's loss and the continuation model's, added.

    Args:
      states: [B, H, n], s_0 .. s_{H-1}, padded.
      actions: [B, H, m].
      t: [H].
      rewards: [B, H].
      steps: [B, H], whether step t was taken.
      taken_weights: [B, H], the `mask_weights` of these steps.
      visited_weights: [B, H], those of the states that were visited. Both are taken over the
        whole batch, so that the mean of losses of its parts is its loss.
    """
    return (self.reward.loss(states, actions, t, rewards, taken_weights)
            + self.continuation.loss(states, t, steps, visited_weights))
