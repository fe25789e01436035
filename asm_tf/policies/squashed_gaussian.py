"""A Gaussian policy squashed to [-1, 1] by tanh.

    u = mu(s, t) + sigma(s, t) eps,   a = tanh(u),   eps ~ N(0, I)
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from asm_tf.errors import UserError, require_positive, require_sizes
from asm_tf.models.normalizer import Normalizer

LOG_STD_RANGE = (-5.0, 1.0)
_LARGEST_ACTION = 0.999  # at whose atanh the likelihood of larger actions is taken


class SquashedGaussianActor(tf.keras.Model):
  """MLP from the observation (state and time) to mu and log sigma (Appendix E)."""

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               hidden_sizes: Sequence[int] = (64, 64), initial_std: float = 0.5,
               initial_mean_variance: float = 0.01, dtype: str = 'float32'):
    """Builds the actor and its weights.

    Args:
      normalizer: `Normalizer` of states and time.
      state_size: n.
      action_size: m.
      hidden_sizes: widths of the ReLU layers.
      initial_std: sigma before training.
      initial_mean_variance: of the mean's weights, in units of LeCun's: small, so
        that training begins with actions near 0.
      dtype: 'float32' or 'float64'.
    """
    require_sizes(hidden_sizes=hidden_sizes)
    require_positive(initial_mean_variance=initial_mean_variance)
    low, high = LOG_STD_RANGE
    if not math.exp(low) < initial_std < math.exp(high):
      raise UserError(f'initial_std is {initial_std}: give a number between '
                      f'{math.exp(low):.3f} and {math.exp(high):.3f}.')
    super().__init__(name='actor', dtype=dtype)
    self._normalizer = normalizer
    position = 2 * (math.log(initial_std) - low) / (high - low) - 1
    self._hidden = [tf.keras.layers.Dense(size, 'relu', dtype=dtype) for size in hidden_sizes]
    self._mean = tf.keras.layers.Dense(
        action_size, dtype=dtype,
        kernel_initializer=tf.keras.initializers.VarianceScaling(initial_mean_variance))
    self._log_std = tf.keras.layers.Dense(
        action_size, kernel_initializer=tf.keras.initializers.VarianceScaling(0.01), dtype=dtype,
        bias_initializer=tf.keras.initializers.Constant(math.atanh(position)))
    self(tf.zeros([1, state_size], dtype), tf.zeros([1], tf.int32))

  def call(self, state: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """state [..., n], t broadcastable to [...] -> mu, log sigma, both [..., m]."""
    x = self._normalizer.join(self._normalizer.normalize(state), t=t)
    for layer in self._hidden:
      x = layer(x)
    low, high = LOG_STD_RANGE
    log_std = low + (high - low) * (tf.tanh(self._log_std(x)) + 1) / 2
    return self._mean(x), log_std


def squash(mean: tf.Tensor, log_std: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
  """The action tanh(mu + sigma eps), [..., m], of given draws eps."""
  return tf.tanh(mean + tf.exp(log_std) * noise)


def squashed_entropy(mean: tf.Tensor, log_std: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
  """One-draw estimate [...] of the entropy of the squashed Gaussian, in nats.

  The Gaussian's own entropy is exact; the log-Jacobian of tanh is taken at the
  draw: H = sum(log sigma + log(2 pi e) / 2) + E[sum log(1 - tanh(u)^2)].
  """
  u = mean + tf.exp(log_std) * noise
  log_jacobian = 2 * (math.log(2) - u - tf.math.softplus(-2 * u))
  gaussian = log_std + 0.5 * math.log(2 * math.pi * math.e)
  return tf.reduce_sum(gaussian + log_jacobian, -1)


def log_likelihood(actions: tf.Tensor, mean: tf.Tensor, log_std: tf.Tensor) -> tf.Tensor:
  """Returns log pi(a) [...] of actions [..., m] under a squashed Gaussian, in nats."""
  actions = tf.clip_by_value(actions, -_LARGEST_ACTION, _LARGEST_ACTION)
  u = tf.atanh(actions)
  gaussian = (-0.5 * ((u - mean) * tf.exp(-log_std)) ** 2 - log_std
              - 0.5 * math.log(2 * math.pi))
  return tf.reduce_sum(gaussian - tf.math.log(1 - actions**2), -1)
