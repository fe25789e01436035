"""The range of what was observed, and numbers kept near it."""

import tensorflow as tf

from asm_tf.usable_numbers import are_usable


class ObservedRange(tf.Module):
  """The smallest and the largest value of each component of vectors of one size."""

  def __init__(self, size: int, dtype: tf.DType = tf.float32):
    super().__init__(name='observed_range')
    self._low = tf.Variable(tf.zeros([size], dtype), trainable=False, name='low')
    self._high = tf.Variable(tf.zeros([size], dtype), trainable=False, name='high')
    self._has_range = tf.Variable(False, trainable=False, name='has_range')

  def update(self, values: tf.Tensor, mask: tf.Tensor) -> None:
    """Takes the rows of `values` [N, size] that are usable and that `mask` [N] selects."""
    values = tf.boolean_mask(values, mask & tf.reduce_all(are_usable(values), -1))
    low, high = tf.reduce_min(values, 0), tf.reduce_max(values, 0)  # +-inf where there are none
    self._low.assign(tf.where(self._has_range, tf.minimum(self._low, low), low))
    self._high.assign(tf.where(self._has_range, tf.maximum(self._high, high), high))
    self._has_range.assign(True)

  def bound(self, values: tf.Tensor, margin: float) -> tf.Tensor:
    """Bounds values [..., size] smoothly to the range and a margin around it.

    Within the range it is the identity, and so is its gradient. Beyond it,
    x = high + w tanh((x - high) / w) with w = margin (high - low), and the same below.
    """
    width = margin * tf.where(self._high > self._low, self._high - self._low,
                              tf.ones_like(self._high))
    inside = tf.clip_by_value(values, self._low, self._high)
    return inside + width * tf.tanh((values - inside) / width)
