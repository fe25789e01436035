"""The LSTM action-sequence model (paper, Appendix E.1)."""

import tensorflow as tf

from asm_tf.models.recurrent import RecurrentModel
from asm_tf.models.recurrent_kernels import lstm_cell, lstm_scan


class LSTMLayer(tf.keras.layers.Layer):
  """One LSTM layer, time-major, fed with input projections and an initial carry (h, c)."""

  def __init__(self, input_size, units, **kwargs):
    super().__init__(**kwargs)
    self.carry_size = 2 * units
    self.kernel = self.add_weight(
        name='kernel', shape=[input_size, 4 * units], initializer='glorot_uniform')
    self.recurrent_kernel = self.add_weight(
        name='recurrent_kernel', shape=[units, 4 * units], initializer='orthogonal')
    self.bias = self.add_weight(
        name='bias', shape=[4 * units],
        initializer=lambda shape, dtype: tf.concat(  # the forget gate starts open
            [tf.zeros(units, dtype), tf.ones(units, dtype), tf.zeros(2 * units, dtype)], 0))

  def call(self, z, h0, c0):
    """Input projections z [T, B, 4u], h0 and c0 [B, u] -> [T, B, u]."""
    return lstm_scan(z, self.recurrent_kernel, h0, c0)

  def start(self, carry):
    """Any numbers [B, 2u] -> h0 and c0 [B, u]."""
    h, c = tf.split(carry, 2, -1)
    return tf.tanh(h), c

  def step(self, z, h, c):
    """z [B, 4u], h and c [B, u] -> h, c."""
    _, h, c = lstm_cell(z + h @ self.recurrent_kernel, c)
    return h, c

  def emit(self, h):
    """What the layer above sees of h."""
    return h


class LSTM(RecurrentModel):
  """Layers of LSTM between a linear embedding and a linear read-out."""

  def __init__(self, normalizer, state_size, action_size, embedding_size=72,
               hidden_sizes=(64, 64), dtype='float32'):
    """See `RecurrentModel`."""
    super().__init__(normalizer, state_size, action_size, LSTMLayer, embedding_size,
                     hidden_sizes, 'lstm', dtype)
