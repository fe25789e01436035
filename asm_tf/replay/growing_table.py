"""Storage that takes no more memory than was written to it."""

import tensorflow as tf
from tf_agents.typing import types

_SMALLEST = 16  # rows
_GROWTH = 1.5


def bytes_of(spec: types.NestedTensorSpec) -> int:
  """Returns the bytes of a row."""
  return sum(part.shape.num_elements() * part.dtype.size for part in tf.nest.flatten(spec))


class GrowingTable(tf.Module):
  """Rows of a nest of tensors, in variables that grow as higher rows are written.

  TF-Agents' own table takes, and writes into every checkpoint, as much as it may ever hold.
  """

  def __init__(self, spec: types.NestedTensorSpec, capacity: int):
    """Builds a table without rows.

    Args:
      spec: nest of TensorSpec of a row.
      capacity: the most rows.
    """
    super().__init__(name='table')
    self._spec = spec
    self._capacity = capacity
    self._columns = [
        tf.Variable(tf.zeros([0, *part.shape], part.dtype), trainable=False,
                    shape=[None, *part.shape], name='column') for part in tf.nest.flatten(spec)]

  def write(self, rows: tf.Tensor, values: types.NestedTensor) -> None:
    """Writes values, a nest of [N, ...], into rows [N] below the capacity."""
    tf.cond(tf.reduce_any(rows >= self._size()), lambda: self._grow(tf.reduce_max(rows) + 1),
            lambda: None)
    for column, value in zip(self._columns, tf.nest.flatten(values), strict=True):
      column.scatter_nd_update(rows[:, None], value)

  def read(self, rows: tf.Tensor) -> types.NestedTensor:
    """Returns a nest of [..., ...] of rows [...], each of which was written."""
    return tf.nest.pack_sequence_as(self._spec, [
        tf.gather(column, rows) for column in self._columns])

  def _size(self):
    return tf.shape(self._columns[0], tf.int64)[0]

  def _grow(self, needed):
    size = self._size()
    size = tf.minimum(tf.maximum(tf.maximum(needed, _SMALLEST), tf.cast(
        tf.cast(size, tf.float64) * _GROWTH, tf.int64)), self._capacity) - size
    for column in self._columns:
      more = tf.zeros([size, *column.shape[1:]], column.dtype)
      column.assign(tf.concat([column, more], 0))
