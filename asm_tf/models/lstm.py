"""The LSTM action-sequence model (paper, Appendix E.1)."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.models.products import product
from asm_tf.models.recurrent import RecurrentModel
from asm_tf.models.recurrent_kernels import lstm_cell, lstm_scan


class LSTMLayer(tf.keras.layers.Layer):
  """One LSTM layer, time-major, fed with input projections and an initial carry (h, c).

  A forget gate sigma(b) has a memory of about 1 / (1 - sigma(b)) = 1 + exp(b) steps.
  """

  def __init__(self, input_size: int, units: int, longest_memory: int | None = None, **kwargs: Any):
    """Builds the weights.

    Args:
      input_size: width of the inputs.
      units: u.
      longest_memory: None starts every forget gate at b = 1, a memory of four steps. A number
        of steps is chrono initialisation (Tallec & Ollivier, 2018): b is spread so that the
        units remember from two steps to that many, with input gates to match. Here they
        are spread evenly over the octaves, not over the steps: at H = 500 almost no unit
        would otherwise be short enough to learn the first steps with.
      **kwargs: name and dtype of the Keras layer.
    """
    super().__init__(**kwargs)
    forget, enter = np.ones(units), np.zeros(units)
    if longest_memory is not None:
      forget = np.log(np.geomspace(2, max(longest_memory, 2), units) - 1)
      enter = -forget
    bias = np.concatenate([enter, forget, np.zeros(2 * units)])  # in the order i, f, g, o
    self.carry_size = 2 * units
    self.residual_sizes = units, 4 * units
    self.kernel = self.add_weight(
        name='kernel', shape=[input_size, 4 * units], initializer='glorot_uniform')
    self.recurrent_kernel = self.add_weight(
        name='recurrent_kernel', shape=[units, 4 * units], initializer='orthogonal')
    self.bias = self.add_weight(
        name='bias', shape=bias.shape, initializer=tf.keras.initializers.Constant(bias))

  def call(self, z: tf.Tensor, h0: tf.Tensor, c0: tf.Tensor,
           residuals: Sequence[tf.Tensor] = ()) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
    """Input projections z [T, B, 4u], h0 and c0 [B, u] -> [T, B, u], and h and c at the end.

    `residuals` may hold those that `step` returned for the same sequence, [T, ...] each.
    """
    hs, c = lstm_scan(z, tf.convert_to_tensor(self.recurrent_kernel), h0, c0, residuals)
    return hs, (hs[-1], c)

  def start(self, carry: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Maps real numbers [B, 2u] to h0 and c0 [B, u]."""
    h, c = tf.split(carry, 2, -1)
    return tf.tanh(h), c

  def step(self, z: tf.Tensor, h: tf.Tensor,
           c: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], list[tf.Tensor]]:
    """z [B, 4u], h and c [B, u] -> (h, c), and the residuals."""
    gates, h, c = lstm_cell(z + product(h, self.recurrent_kernel), c)
    return (h, c), [c, gates]

  def emit(self, h: tf.Tensor) -> tf.Tensor:
    """Returns the input of the layer above."""
    return h


class LSTM(RecurrentModel):
  """Layers of LSTM between a linear embedding and a linear read-out."""

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               embedding_size: int = 72, hidden_sizes: Sequence[int] = (64, 64),
               chrono_initialization: bool = False, dtype: str = 'float32'):
    """See `RecurrentModel`.

    Args:
      normalizer: `Normalizer`.
      state_size: n.
      action_size: m.
      embedding_size: see `RecurrentModel`.
      hidden_sizes: see `RecurrentModel`.
      chrono_initialization: start with memories of up to H steps (see `LSTMLayer`), so that
        a dependence on one action a hundred steps ago is learned at once.
      dtype: 'float32' or 'float64'.
    """
    longest_memory = normalizer.horizon if chrono_initialization else None
    super().__init__(
        normalizer, state_size, action_size,
        functools.partial(LSTMLayer, longest_memory=longest_memory), embedding_size,
        hidden_sizes, 'lstm', dtype)
