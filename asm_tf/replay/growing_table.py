"""Storage that takes no more memory than was written to it."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory
from tf_agents.typing import types

_SMALLEST = 16  # rows
_GROWTH = 1.5


def bytes_of(spec: types.NestedTensorSpec) -> int:
  """Returns the bytes of a row."""
  return sum(part.shape.num_elements() * part.dtype.size for part in tf.nest.flatten(spec))


class GrowingTable(tf.Module):
  """Rows of a nest of tensors, in variables that grow as higher rows are written.

  TF-Agents' own table allocates its whole capacity at once, and writes all of it into every
  checkpoint.

  Attributes:
    row_bytes: of a row as it is stored.
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
    self.row_bytes = bytes_of(spec)
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


class IntegerStatesTable(GrowingTable):
  """Rows of steps whose states are whole numbers, and are stored as such.

  An image is a byte a number, and four as the float that agents see.
  """

  def __init__(self, spec: Trajectory, capacity: int, dtype: tf.DType):
    """Builds a table without rows.

    Args:
      spec: `Trajectory` of TensorSpec of a row, with observations [..., n+1]: state and time.
      capacity: the most rows.
      dtype: integer type that holds every state.
    """
    self._dtype, self._observed_dtype = dtype, spec.observation.dtype
    *outer, size = spec.observation.shape
    super().__init__(spec._replace(observation=(
        tf.TensorSpec([*outer, size - 1], dtype),
        tf.TensorSpec([*outer, 1], self._observed_dtype))), capacity)

  def write(self, rows: tf.Tensor, values: Trajectory) -> None:
    """See `GrowingTable.write`."""
    states, times = values.observation[..., :-1], values.observation[..., -1:]
    super().write(rows, values._replace(observation=(tf.cast(states, self._dtype), times)))

  def read(self, rows: tf.Tensor) -> Trajectory:
    """See `GrowingTable.read`."""
    steps = super().read(rows)
    return steps._replace(observation=tf.concat(
        [tf.cast(part, self._observed_dtype) for part in steps.observation], -1))


def step_table(spec: types.NestedTensorSpec, capacity: int,
               dtype: tf.DType | None = None) -> GrowingTable:
  """Makes a table of steps; of a Trajectory with whole states where their dtype is given."""
  if dtype is None:
    return GrowingTable(spec, capacity)
  return IntegerStatesTable(spec, capacity, dtype)
