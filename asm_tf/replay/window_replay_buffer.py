"""Replay of single steps, drawn as windows of successive ones, behind TF-Agents' interface."""

import tensorflow as tf
from tf_agents.replay_buffers import replay_buffer
from tf_agents.typing import types

from asm_tf.errors import require_at_least
from asm_tf.replay import episode_steps
from asm_tf.replay.growing_table import GrowingTable, bytes_of, step_table


class WindowReplayBuffer(replay_buffer.ReplayBuffer):
  """A ring of the steps of all episodes; a sample is a window of k of them.

  Every step that is kept begins a window with the same probability. A window that reaches the end
  of its episode is padded as episodes are (`PaddedEpisodeAccumulator`). The generator that samples
  is a checkpointed variable, so that a resumed run draws what an uninterrupted one would have
  drawn.
  """

  def __init__(self, data_spec: types.NestedTensorSpec, length: int, window: int,
               seed: int | tuple[int, ...] = 0, capacity: int = 1_000_000,
               integer_dtype: tf.DType | None = None):
    """Builds an empty buffer.

    Args:
      data_spec: `Trajectory` of TensorSpec of one time step.
      length: rows of the longest episode, H+1.
      window: k, the steps of a window.
      seed: of the sampling.
      capacity: rows kept, one for each environment step and one for the end of each episode;
        older ones are overwritten.
      integer_dtype: type to store states as that are whole numbers; None for any others.
    """
    require_at_least(length, **{'WindowReplayBuffer.capacity': capacity})
    super().__init__(data_spec, capacity)
    self._window = window
    self._table = step_table(data_spec, capacity, integer_dtype)
    # Rows and steps count from the beginning of the run; the ring holds number i at i % capacity.
    self._rows = tf.Variable(0, dtype=tf.int64, trainable=False, name='rows')
    self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name='steps')
    self._row_of_step, self._steps_before_row = (
        GrowingTable(tf.TensorSpec([], tf.int64), capacity) for _ in range(2))
    self._generator = tf.random.Generator.from_seed(seed, alg='philox')

  def most_bytes(self, env_steps: int) -> int:
    """Returns the bytes of so many environment steps, the ends of their episodes apart."""
    tables = self._table, self._row_of_step, self._steps_before_row
    return min(self.capacity, env_steps) * sum(table.row_bytes for table in tables)

  def batch_bytes(self, size: int) -> int:
    """Returns the bytes of a batch."""
    return size * (self._window + 1) * bytes_of(self.data_spec)

  def batch_size(self, most: int) -> int:
    """Returns how many windows a batch holds: as many as are asked for."""
    return most

  def _num_frames(self):
    return self._steps - self._oldest_step()

  def _oldest_step(self):
    oldest_row = tf.maximum(self._rows - self.capacity, 0)
    return tf.cond(self._rows > 0,
                   lambda: self._steps_before_row.read(oldest_row % self.capacity),
                   lambda: tf.constant(0, tf.int64))

  def _add_batch(self, items):
    """Adds episodes, a Trajectory [B, H+1, ...], without their padding."""
    visited = episode_steps.states_visited(items)
    rows = tf.nest.map_structure(lambda x: tf.boolean_mask(x, visited), items)
    is_step = tf.cast(~rows.is_boundary(), tf.int64)
    numbers = self._rows + tf.range(tf.size(is_step, tf.int64))
    steps_before = self._steps + tf.cumsum(is_step, exclusive=True)
    self._table.write(numbers % self.capacity, rows)
    self._steps_before_row.write(numbers % self.capacity, steps_before)
    begins = tf.where(is_step > 0)[:, 0]
    slots = tf.gather(steps_before, begins) % self.capacity
    self._row_of_step.write(slots, tf.gather(numbers, begins))
    self._rows.assign_add(tf.size(is_step, tf.int64))
    self._steps.assign_add(tf.reduce_sum(is_step))

  def _get_next(self, sample_batch_size, num_steps, time_stacked):
    """Draws windows: a Trajectory [sample_batch_size, k+1, ...]."""
    if num_steps is not None or not time_stacked or sample_batch_size is None:
      raise NotImplementedError('an item is a window: leave num_steps and time_stacked, and give '
                                'the number of windows.')
    steps = self._generator.uniform(
        [sample_batch_size], self._oldest_step(), self._steps, tf.int64)
    begins = self._row_of_step.read(steps % self.capacity)
    rows = begins[:, None] + tf.range(self._window + 1, dtype=tf.int64)
    # The newest row ends an episode: nothing beyond it is looked at.
    rows = self._table.read(tf.minimum(rows, self._rows - 1) % self.capacity)
    ends = tf.cast(rows.is_boundary(), tf.int32)
    last = tf.where(tf.reduce_any(ends > 0, 1), tf.argmax(ends, 1, tf.int32), self._window)
    return episode_steps.pad(rows, last), ()

  def _as_dataset(self, sample_batch_size, num_steps, sequence_preprocess_fn,
                  num_parallel_calls):
    raise NotImplementedError('draw windows by get_next.')

  def _single_deterministic_pass_dataset(self, sample_batch_size, num_steps,
                                         sequence_preprocess_fn, num_parallel_calls):
    raise NotImplementedError('use gather_all for one pass over the steps.')

  def _gather_all(self):
    """Every row that is kept, from the oldest on: a Trajectory [rows, ...]."""
    oldest = tf.maximum(self._rows - self.capacity, 0)
    return self._table.read(tf.range(oldest, self._rows) % self.capacity)

  def _clear(self):
    self._rows.assign(0)
    self._steps.assign(0)
