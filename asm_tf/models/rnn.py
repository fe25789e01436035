"""The simple recurrent action-sequence model (paper, Equation 2; Appendix E.1)."""

import tensorflow as tf

from asm_tf.models.products import product
from asm_tf.models.recurrent import RecurrentModel
from asm_tf.models.recurrent_kernels import rnn_scan


class RNNLayer(tf.keras.layers.Layer):
  """One layer of Equation 2, x_t = tanh(W_x x_{t-1}) + z_t, time-major."""

  def __init__(self, input_size, units, **kwargs):
    super().__init__(**kwargs)
    self.carry_size = units
    self.kept_sizes = units, units
    self.kernel = self.add_weight(
        name='kernel', shape=[input_size, units], initializer='glorot_uniform')
    self.recurrent_kernel = self.add_weight(
        name='recurrent_kernel', shape=[units, units], initializer='orthogonal')
    self.bias = self.add_weight(name='bias', shape=[units], initializer='zeros')

  def call(self, z, x0, kept=()):
    """Input projections z [T, B, u], x0 [B, u] -> [T, B, u], and x at the end.

    `kept` may hold what `step` has kept of the same sequence, [T, ...] each.
    """
    xs = rnn_scan(z, tf.convert_to_tensor(self.recurrent_kernel), x0, kept)
    return xs, (xs[-1],)

  def start(self, carry):
    """Any numbers [B, u] -> x0."""
    return (carry,)

  def step(self, z, x):
    """z [B, u], x [B, u] -> (x,), and what `call` can use again."""
    tanh = tf.tanh(product(x, self.recurrent_kernel))
    x = tanh + z
    return (x,), [x, tanh]

  def emit(self, x):
    """What the layer above sees of x: two linear layers on each other would be one."""
    return tf.tanh(x)


class RNN(RecurrentModel):
  """Layers of Equation 2 between a linear embedding and a linear read-out.

  With one layer it is Equation 2: the embedding and W_a are one linear map.
  """

  def __init__(self, normalizer, state_size, action_size, embedding_size=72,
               hidden_sizes=(64, 64), dtype='float32'):
    """See `RecurrentModel`."""
    super().__init__(normalizer, state_size, action_size, RNNLayer, embedding_size,
                     hidden_sizes, 'rnn', dtype)
