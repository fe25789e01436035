"""Layer normalisation of inputs of any rank (Keras' fixes the rank at its first call)."""

import tensorflow as tf


class LayerNorm(tf.keras.layers.Layer):
  """Zero mean and unit variance along the last axis, then a learned scale and offset."""

  def build(self, shape: tf.TensorShape) -> None:
    self._gain = self.add_weight(name='gain', shape=shape[-1:], initializer='ones')
    self._offset = self.add_weight(name='offset', shape=shape[-1:], initializer='zeros')
    super().build(shape)

  def call(self, x: tf.Tensor) -> tf.Tensor:
    x -= tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(x**2, -1, keepdims=True)
    return x * tf.math.rsqrt(variance + 1e-5) * self._gain + self._offset
