"""A read-out that remembers: the last layer of a transformer world model."""

import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp


class GatedReadOut(tf.keras.layers.Layer):
  """States that move towards what is read out, at a rate that is read out too.

      z_{t+1} = (1 - g_t) z_t + g_t c_t,   g_t = sigmoid(W_g x_t + b_g),   c_t = W_c x_t + b_c

  It is an LSTM's cell at the end of a transformer. Towards a target that lies far off, states go on
  as they went, beyond those of the data, where a linear read-out levels off and a policy sees no
  gain in going there; they stay within the range of c_t. A plain sum of differences goes on too,
  but never forgets an error, and policies learn to exploit that.
  """

  def __init__(self, size: int, memory: float, **kwargs: Any):
    """Builds the layer.

    Args:
      size: n.
      memory: steps; b_g begins at -log(memory), at which g is 1 / (1 + memory).
      **kwargs: name and dtype of the Keras layer.
    """
    super().__init__(**kwargs)
    self._gate = tf.keras.layers.Dense(
        size, 'sigmoid', name='gate', dtype=self.dtype,
        bias_initializer=tf.keras.initializers.Constant(-math.log(memory)))
    self._target = tf.keras.layers.Dense(size, name='target', dtype=self.dtype)

  def call(self, x: tf.Tensor, initial: tf.Tensor) -> tf.Tensor:
    """Features x_0 .. [B, T, k] and z_0 [B, n] -> z_1 .. z_T [B, T, n]."""
    gate = self._gate(x)
    kept, entered = tfp.math.scan_associative(
        _composed, (1 - gate, gate * self._target(x)), axis=1)
    return kept * initial[:, None] + entered

  def step(self, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Features x_t [B, k] and z_t [B, n] -> z_{t+1} [B, n]."""
    gate = self._gate(x)
    return (1 - gate) * z + gate * self._target(x)


def _composed(first, second):
  """z -> a z + b for `second` after `first`, each a pair (a, b)."""
  return second[0] * first[0], second[0] * first[1] + second[1]
