"""Mixed precision: the products inside learned models, in bfloat16 where a run asks for it.

Tensor cores and TPUs multiply bfloat16 several times faster than float32, and add up in
float32. Only products are rounded: weights, states, gates, sums and softmax keep their dtype. So
does a model's last linear map, which gives the states, and its first, which takes the actions.
Exceptions: the first map of `Markov`, `RewardModel` and `ContinuationModel`, and the attention of
`SelfAttention`, whose output is the state.
"""

import tensorflow as tf

from asm_tf.errors import UserError

_DTYPES = {'float32': None, 'bfloat16': tf.bfloat16}
_lower_dtype = None


def set_product_dtype(name: str) -> None:
  """Chooses the precision of whatever is traced from now on: 'float32' or 'bfloat16'.

  float32 leaves everything as it is, products of float64 models too. TensorFlow's own float32
  products are TF32's on a GPU, unless one calls
  tf.config.experimental.enable_tensor_float_32_execution(False), and on a TPU their operands are
  rounded to bfloat16.
  """
  global _lower_dtype
  if name not in _DTYPES:
    raise UserError(f'product_dtype is {name!r}: give one of {", ".join(_DTYPES)}.')
  _lower_dtype = _DTYPES[name]


def product(a: tf.Tensor, b: tf.Tensor, transpose_a: bool = False,
            transpose_b: bool = False) -> tf.Tensor:
  """a [..., i, j] @ b [..., j, k], in the dtype of a; either may come transposed."""
  if _lower_dtype is None:
    return tf.matmul(a, b, transpose_a, transpose_b)
  a, b, dtype = tf.cast(a, _lower_dtype), tf.cast(b, _lower_dtype), a.dtype
  return tf.cast(tf.matmul(a, b, transpose_a, transpose_b), dtype)


def linear(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """x [..., i] times kernel [i, k], in the dtype of x."""
  if _lower_dtype is None:
    return tf.tensordot(x, kernel, 1)
  x, kernel, dtype = tf.cast(x, _lower_dtype), tf.cast(kernel, _lower_dtype), x.dtype
  return tf.cast(tf.tensordot(x, kernel, 1), dtype)


class Dense(tf.keras.layers.Dense):
  """Keras' own layer, whose product is `linear`."""

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    if _lower_dtype is None:
      return super().call(inputs)
    y = linear(inputs, self.kernel)
    return self.activation(y + self.bias if self.use_bias else y)
