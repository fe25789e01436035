"""Mean and variance of a stream, merged batch by batch (Chan et al., 1983)."""

import tensorflow as tf

from asm_tf.usable_numbers import are_usable


class RunningMoments(tf.Module):
  """Running mean and standard deviation of vectors of one size."""

  def __init__(self, size: int, dtype: tf.DType = tf.float32, name: str = 'running_moments'):
    super().__init__(name=name)
    self._count = tf.Variable(0.0, trainable=False, dtype=dtype, name='count')
    self._mean = tf.Variable(tf.zeros([size], dtype), trainable=False, name='mean')
    self._squares = tf.Variable(tf.zeros([size], dtype), trainable=False, name='squares')

  def update(self, values: tf.Tensor, mask: tf.Tensor | None = None) -> None:
    """Takes the rows of `values` [N, size] that are usable and that `mask` [N], if any, selects."""
    taken = tf.reduce_all(are_usable(values), -1, keepdims=True)  # [N, 1]
    if mask is not None:
      taken &= mask[:, None]
    weights = tf.cast(taken, values.dtype)
    values = tf.where(taken, values, tf.zeros_like(values))
    count = tf.reduce_sum(weights)
    mean = tf.math.divide_no_nan(tf.reduce_sum(values, 0), count)
    # A second pass: the sum of large numbers has lost what a small spread needs.
    mean += tf.math.divide_no_nan(tf.reduce_sum(weights * (values - mean), 0), count)
    squares = tf.reduce_sum(weights * (values - mean) ** 2, 0)
    total = self._count + count
    shift = mean - self._mean
    self._squares.assign_add(
        squares + tf.math.divide_no_nan(shift**2 * self._count * count, total))
    self._mean.assign_add(tf.math.divide_no_nan(shift * count, total))
    self._count.assign(total)

  @property
  def mean(self) -> tf.Tensor:
    """[size]; 0 before the first update."""
    return tf.convert_to_tensor(self._mean)

  @property
  def std(self) -> tf.Tensor:
    """[size]; 1 where nothing has varied yet."""
    spread = self.spread
    return tf.where(spread > 0, spread, tf.ones_like(spread))

  @property
  def spread(self) -> tf.Tensor:
    """[size], the standard deviation; 0 where nothing has varied yet."""
    variance = tf.math.divide_no_nan(self._squares, self._count)
    varies = variance > 1e-12 * (1e-12 + self._mean**2)  # beyond rounding
    return tf.where(varies, tf.sqrt(variance), tf.zeros_like(variance))
