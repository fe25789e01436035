"""Uniform actions in a few steps of every episode, which a model can learn from.

    a_t ~ (1 - epsilon) pi(. | s_t, t) + epsilon U[-1, 1]^m,   epsilon = min(n / H, largest share)

Where a policy is sure its actions hardly vary, and what another action would do is then nowhere
in the data: the model, and with it the policy gradient, may be wrong there for good.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from asm_tf.errors import require_not_negative, require_share


class UniformSteps(tf.Module):
  """Draws the steps of an episode at which an exploring policy acts uniformly.

  Attributes:
    probability: epsilon.
  """

  def __init__(self, generator: tf.random.Generator, horizon: int, per_episode: float = 6.0,
               largest_share: float = 0.3):
    """Builds the source.

    Args:
      generator: what is drawn from.
      horizon: H.
      per_episode: n, their expected number in an episode of H steps. The paper has none, 0.
      largest_share: of the steps of a short episode, above 0, up to 1.
    """
    super().__init__(name='uniform_steps')
    require_not_negative(**{'UniformSteps.per_episode': per_episode})
    require_share(**{'UniformSteps.largest_share': largest_share})
    self.probability = min(per_episode / horizon, largest_share)
    self._generator = generator

  def replace(self, action: tf.Tensor) -> tf.Tensor:
    """Returns actions [B, m], each row replaced by a uniform draw with the probability."""
    if self.probability == 0:
      return action
    uniform = self._generator.uniform(tf.shape(action), -1.0, 1.0)
    is_drawn = self._generator.uniform(tf.shape(action)[:1]) < self.probability
    return tf.where(is_drawn[:, None], uniform, action)

  def mixed(self, own: tfp.distributions.Distribution) -> tfp.distributions.Distribution:
    """Returns the distribution [B, m] of `replace`'s actions, given that of the policy's own."""
    if self.probability == 0:
      return own
    shape = tf.concat([own.batch_shape_tensor(), own.event_shape_tensor()], 0)
    uniform = tfp.distributions.Independent(
        tfp.distributions.Uniform(-tf.ones(shape), tf.ones(shape)), 1)
    epsilon = tf.fill(own.batch_shape_tensor(), self.probability)
    return tfp.distributions.Mixture(
        tfp.distributions.Categorical(probs=tf.stack([1 - epsilon, epsilon], -1)),
        [own, uniform])
