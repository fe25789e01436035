"""The LSTM action-sequence model (paper, Appendix E.1)."""

import functools

import numpy as np
import tensorflow as tf

from asm_tf.models.products import product
from asm_tf.models.recurrent import RecurrentModel
from asm_tf.models.recurrent_kernels import lstm_cell, lstm_scan


class LSTMLayer(tf.keras.layers.Layer):
  """One LSTM layer, time-major, fed with input projections and an initial carry (h, c).

  A forget gate sigma(b) forgets within 1 / (1 - sigma(b)) = 1 + exp(b) steps or so.
  """

  def __init__(self, input_size, units, longest_memory=None, **kwargs):
    """Builds the weights.

    Args:
      input_size: width of the inputs.
      units: u.
      longest_memory: None starts every forget gate at b = 1, which remembers four
        steps; a number of steps spreads b so that the units remember from two steps
        to so many, evenly over the octaves, with input gates to match (after Tallec &
        Ollivier, 2018, who spread them evenly over the steps: at H = 500 almost no
        unit is then short enough to learn the first steps with).
      **kwargs: name and dtype of the Keras layer.
    """
    super().__init__(**kwargs)
    forget, enter = np.ones(units), np.zeros(units)
    if longest_memory is not None:
      forget = np.log(np.geomspace(2, max(longest_memory, 2), units) - 1)
      enter = -forget
    bias = np.concatenate([enter, forget, np.zeros(2 * units)])  # in the order i, f, g, o
    self.carry_size = 2 * units
    self.kept_sizes = units, 4 * units
    self.kernel = self.add_weight(
        name='kernel', shape=[input_size, 4 * units], initializer='glorot_uniform')
    self.recurrent_kernel = self.add_weight(
        name='recurrent_kernel', shape=[units, 4 * units], initializer='orthogonal')
    self.bias = self.add_weight(
        name='bias', shape=bias.shape, initializer=tf.keras.initializers.Constant(bias))

  def call(self, z, h0, c0, kept=()):
    """Input projections z [T, B, 4u], h0 and c0 [B, u] -> [T, B, u], and h and c at the end.

    `kept` may hold what `step` has kept of the same sequence, [T, ...] each.
    """
    hs, c = lstm_scan(z, tf.convert_to_tensor(self.recurrent_kernel), h0, c0, kept)
    return hs, (hs[-1], c)

  def start(self, carry):
    """Any numbers [B, 2u] -> h0 and c0 [B, u]."""
    h, c = tf.split(carry, 2, -1)
    return tf.tanh(h), c

  def step(self, z, h, c):
    """z [B, 4u], h and c [B, u] -> (h, c), and what `call` can use again."""
    gates, h, c = lstm_cell(z + product(h, self.recurrent_kernel), c)
    return (h, c), [c, gates]

  def emit(self, h):
    """What the layer above sees of h."""
    return h


class LSTM(RecurrentModel):
  """Layers of LSTM between a linear embedding and a linear read-out."""

  def __init__(self, normalizer, state_size, action_size, embedding_size=72,
               hidden_sizes=(64, 64), remember_horizon=False, dtype='float32'):
    """See `RecurrentModel`.

    Args:
      normalizer: `Normalizer`.
      state_size: n.
      action_size: m.
      embedding_size: see `RecurrentModel`.
      hidden_sizes: see `RecurrentModel`.
      remember_horizon: start with memories of up to H steps, see `LSTMLayer`: what
        depends on one action a hundred steps ago is then learned at once.
      dtype: 'float32' or 'float64'.
    """
    longest_memory = normalizer.horizon if remember_horizon else None
    super().__init__(
        normalizer, state_size, action_size,
        functools.partial(LSTMLayer, longest_memory=longest_memory), embedding_size,
        hidden_sizes, 'lstm', dtype)
