"""The LSTM action-sequence model (paper, Appendix E.1)."""

import tensorflow as tf

from asm_tf.errors import require_at_least, require_sizes
from asm_tf.models.recurrent_kernels import lstm_cell, lstm_scan
from asm_tf.models.sequence_model import SequenceModel


class LSTMLayer(tf.keras.layers.Layer):
  """One LSTM layer, time-major, fed with input projections and an initial carry."""

  def __init__(self, input_size, units, **kwargs):
    super().__init__(**kwargs)
    self.units = u = units
    self.kernel = self.add_weight(
        name='kernel', shape=[input_size, 4 * u], initializer='glorot_uniform')
    self.recurrent_kernel = self.add_weight(
        name='recurrent_kernel', shape=[u, 4 * u], initializer='orthogonal')
    self.bias = self.add_weight(
        name='bias', shape=[4 * u],
        initializer=lambda shape, dtype: tf.concat(  # the forget gate starts open
            [tf.zeros(u, dtype), tf.ones(u, dtype), tf.zeros(2 * u, dtype)], 0))

  def call(self, z, h0, c0):
    """Input projections z [T, B, 4u], h0 and c0 [B, u] -> [T, B, u]."""
    return lstm_scan(z, self.recurrent_kernel, h0, c0)

  def step(self, z, h, c):
    """z [B, 4u], h and c [B, u] -> h, c."""
    _, h, c = lstm_cell(z + h @ self.recurrent_kernel, c)
    return h, c


class LSTM(SequenceModel):
  """Linear embedding of (action, time), LSTM layers, linear read-out of the state.

  The initial carry of every layer is a linear map of the initial state.
  """

  def __init__(self, normalizer, state_size, action_size, embedding_size=72,
               hidden_sizes=(64, 64), dtype='float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time.
      state_size: n.
      action_size: m.
      embedding_size: width of the linear embedding of the inputs.
      hidden_sizes: u of each layer.
      dtype: 'float32' or 'float64'.
    """
    require_at_least(1, embedding_size=embedding_size)
    require_sizes(hidden_sizes=hidden_sizes)
    super().__init__(name='lstm', dtype=dtype)
    self._normalizer = normalizer
    self._embedding = tf.keras.layers.Dense(embedding_size, dtype=dtype, name='embedding')
    self._embedding.build([None, action_size + normalizer.time_size])
    self._stack = []
    for input_size, units in zip((embedding_size, *hidden_sizes), hidden_sizes):
      self._stack.append(
          LSTMLayer(input_size, units, dtype=dtype, name=f'layer_{len(self._stack)}'))
    self._start = tf.keras.layers.Dense(2 * sum(hidden_sizes), dtype=dtype, name='start')
    self._read_out = tf.keras.layers.Dense(state_size, dtype=dtype, name='read_out')
    self(tf.zeros([1, state_size], dtype), tf.zeros([1, 1, action_size], dtype))

  def call(self, initial_state, actions):
    actions = tf.transpose(actions, [1, 0, 2])  # [T, B, m]
    z = self._embed(actions, tf.range(actions.shape[0])[:, None])
    for i, (layer, carry) in enumerate(
        zip(self._stack, self.start(initial_state, actions.shape[0]))):
      x = layer(z if i == 0 else _affine(x, layer.kernel, layer.bias), *carry)
    return tf.transpose(self._state(x), [1, 0, 2])  # [B, T, n]

  def start(self, initial_state, horizon):
    carry = self._start(self._normalizer.normalize(initial_state))
    sizes = [layer.units for layer in self._stack for _ in 'hc']
    carry = tf.split(carry, sizes, -1)
    return [(tf.tanh(h), c) for h, c in zip(carry[::2], carry[1::2])]

  def step(self, carry, action, t):
    z = self._embed(action, t)
    next_carry = []
    for i, (layer, (h, c)) in enumerate(zip(self._stack, carry)):
      h, c = layer.step(z if i == 0 else _affine(x, layer.kernel, layer.bias), h, c)
      next_carry.append((h, c))
      x = h
    return self._state(x), next_carry

  def _embed(self, actions, t):
    """Input projections [..., 4u] of the first layer.

    The embedding is linear and so is the projection after it: their product, a
    small matrix, is applied to the few inputs instead of one after the other.
    """
    time = self._normalizer.time(t)
    time = tf.broadcast_to(time, [*actions.shape[:-1], time.shape[-1]])
    first = self._stack[0]
    kernel = self._embedding.kernel @ first.kernel
    bias = tf.linalg.matvec(first.kernel, self._embedding.bias, transpose_a=True) + first.bias
    return _affine(tf.concat([actions, time], -1), kernel, bias)

  def _state(self, x):
    return self._normalizer.denormalize(self._read_out(x))


def _affine(x, kernel, bias):
  return tf.tensordot(x, kernel, 1) + bias
