"""The simple recurrent action-sequence model (paper, Equation 2; Appendix E.1)."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.models.products import product
from asm_tf.models.recurrent import RecurrentModel
from asm_tf.models.recurrent_kernels import rnn_scan


class RNNLayer(tf.keras.layers.Layer):
  """One layer of Equation 2, x_t = tanh(W_x x_{t-1}) + z_t, time-major."""

  def __init__(self, input_size: int, units: int, **kwargs: Any):
    super().__init__(**kwargs)
    self.carry_size = units
    self.residual_sizes = units, units
    self.kernel = self.add_weight(
        name='kernel', shape=[input_size, units], initializer='glorot_uniform')
    self.recurrent_kernel = self.add_weight(
        name='recurrent_kernel', shape=[units, units], initializer='orthogonal')
    self.bias = self.add_weight(name='bias', shape=[units], initializer='zeros')

  def call(self, z: tf.Tensor, x0: tf.Tensor,
           residuals: Sequence[tf.Tensor] = ()) -> tuple[tf.Tensor, tuple[tf.Tensor]]:
    """Input projections z [T, B, u], x0 [B, u] -> [T, B, u], and x at the end.

    `residuals` may hold those that `step` returned for the same sequence, [T, ...] each.
    """
    xs = rnn_scan(z, tf.convert_to_tensor(self.recurrent_kernel), x0, residuals)
    return xs, (xs[-1],)

  def start(self, carry: tf.Tensor) -> tuple[tf.Tensor]:
    """Maps real numbers [B, u] to x0."""
    return (carry,)

  def step(self, z: tf.Tensor, x: tf.Tensor) -> tuple[tuple[tf.Tensor], list[tf.Tensor]]:
    """z [B, u], x [B, u] -> (x,), and the residuals."""
    tanh = tf.tanh(product(x, self.recurrent_kernel))
    x = tanh + z
    return (x,), [x, tanh]

  def emit(self, x: tf.Tensor) -> tf.Tensor:
    """Returns the input of the layer above: two successive linear layers would be one."""
    return tf.tanh(x)


class RNN(RecurrentModel):
  """Layers of Equation 2 between a linear embedding and a linear read-out.

  With one layer it is Equation 2: the embedding and W_a are one linear map.
  """

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               embedding_size: int = 72, hidden_sizes: Sequence[int] = (64, 64),
               dtype: str = 'float32'):
    """See `RecurrentModel`."""
    super().__init__(normalizer, state_size, action_size, RNNLayer, embedding_size,
                     hidden_sizes, 'rnn', dtype)
