"""A policy that is nothing but a sequence of actions: what a user would optimise first."""

import math

import tensorflow as tf

from asm_tf.errors import require_positive
from asm_tf.models.normalizer import Normalizer
from asm_tf.policies.acting_step import acting_step


class ActionSequence(tf.keras.Model):
  """mu_t and log sigma_t, free parameters of every step; the state is not looked at."""

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               initial_std: float = 0.1, dtype: str = 'float32'):
    """Builds the sequence, with means of 0.

    Args:
      normalizer: `Normalizer`; its horizon is the length.
      state_size: not used.
      action_size: m.
      initial_std: sigma before training.
      dtype: 'float32' or 'float64'.
    """
    del state_size
    require_positive(initial_std=initial_std)
    super().__init__(name='actor', dtype=dtype)
    shape = [normalizer.horizon, action_size]
    self._mean = self.add_weight('mean', shape, initializer='zeros')
    self._log_std = self.add_weight(
        'log_std', shape, initializer=tf.keras.initializers.Constant(math.log(initial_std)))

  def call(self, state: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """state [..., n], t broadcastable to [...] -> mu, log sigma, both [..., m]."""
    t = tf.broadcast_to(acting_step(t, self._mean.shape[0]), tf.shape(state)[:-1])
    # A product, not tf.gather, whose gradient has no norm before its parts are added up.
    step = tf.one_hot(t, self._mean.shape[0], dtype=state.dtype)
    return tf.tensordot(step, self._mean, 1), tf.tensordot(step, self._log_std, 1)
