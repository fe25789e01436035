"""Replay of whole episodes behind TF-Agents' ReplayBuffer interface."""

import tensorflow as tf
from tf_agents.replay_buffers import replay_buffer
from tf_agents.specs import tensor_spec
from tf_agents.typing import types

from asm_tf.errors import require_at_least
from asm_tf.replay.growing_table import bytes_of, step_table


class EpisodeReplayBuffer(replay_buffer.ReplayBuffer):
  """A ring of fixed-length episodes, sampled uniformly with replacement.

  An item is one episode, a nest of tensors [length, ...]. The generator that
  samples is a checkpointed variable, so a resumed run draws what an uninterrupted
  one would have drawn (TF-Agents' own buffers draw from stateful ops).
  """

  def __init__(self, data_spec: types.NestedTensorSpec, length: int,
               seed: int | tuple[int, ...] = 0, capacity: int = 1_000_000,
               batch_steps: int | None = None, integer_dtype: tf.DType | None = None):
    """Builds an empty buffer.

    Args:
      data_spec: nest of TensorSpec of one time step.
      length: rows per episode, H+1.
      seed: of the sampling.
      capacity: environment steps kept, in whole episodes of H steps; older episodes are
        overwritten. An episode that ends early takes the place of a whole one.
      batch_steps: environment steps of a batch at most, so that an update costs the same at
        every horizon; None for no limit.
      integer_dtype: type to store states as that are whole numbers; None for any others.
    """
    if batch_steps is not None:
      require_at_least(length - 1, **{'EpisodeReplayBuffer.batch_steps': batch_steps})
    require_at_least(length - 1, **{'EpisodeReplayBuffer.capacity': capacity})
    episode_spec = tensor_spec.add_outer_dim(data_spec, length)
    super().__init__(episode_spec, capacity=capacity // (length - 1))
    self._length = length
    self._batch_steps = batch_steps
    self._table = step_table(episode_spec, self.capacity, integer_dtype)
    self._added = tf.Variable(0, dtype=tf.int64, trainable=False, name='added')
    self._generator = tf.random.Generator.from_seed(seed, alg='philox')

  def most_bytes(self, env_steps: int) -> int:
    """Returns the bytes of so many environment steps, in episodes of H steps."""
    episodes = -(-env_steps // (self._length - 1))
    return min(self.capacity, episodes) * self._table.row_bytes

  def batch_bytes(self, size: int) -> int:
    """Returns the bytes of a batch."""
    return size * bytes_of(self.data_spec)

  def batch_size(self, most: int) -> int:
    """Returns how many episodes a batch holds: at most `most`, within `batch_steps`.

    Where `batch_steps` cuts it to four or more, it is a multiple of four, which cores and
    replicas can share.
    """
    if self._batch_steps is None:
      return most
    fitting = min(most, self._batch_steps // (self._length - 1))
    return fitting if fitting in (most, 1, 2, 3) else fitting - fitting % 4

  def _num_frames(self):
    return self._num_episodes() * self._length

  def _num_episodes(self):
    return tf.minimum(self._added, self.capacity)

  def _add_batch(self, items):
    """Adds episodes, a nest of [B, length, ...]; `ValueError` for another length."""
    for item in tf.nest.flatten(items):
      if item.shape[1] != self._length:
        raise ValueError(f'an episode has {item.shape[1]} rows, expected {self._length}.')
    count = tf.shape(tf.nest.flatten(items)[0], tf.int64)[0]
    rows = (self._added + tf.range(count)) % self.capacity
    self._table.write(rows, items)
    self._added.assign_add(count)

  def _get_next(self, sample_batch_size, num_steps, time_stacked):
    """Draws whole episodes: a nest of [sample_batch_size, length, ...]."""
    if num_steps is not None or not time_stacked:
      raise NotImplementedError('an item is a whole episode: leave num_steps and time_stacked.')
    rows = self._generator.uniform(
        [sample_batch_size or 1], maxval=self._num_episodes(), dtype=tf.int64)
    episodes = self._table.read(rows)
    if sample_batch_size is None:
      episodes = tf.nest.map_structure(lambda x: x[0], episodes)
    return episodes, ()

  def _as_dataset(self, sample_batch_size, num_steps, sequence_preprocess_fn,
                  num_parallel_calls):
    if sequence_preprocess_fn is not None or num_parallel_calls not in (None, 1):
      raise NotImplementedError('only plain, sequential sampling is reproducible.')
    dataset = tf.data.experimental.Counter()
    return dataset.map(lambda _: self._get_next(sample_batch_size, num_steps, True))

  def _single_deterministic_pass_dataset(self, sample_batch_size, num_steps,
                                         sequence_preprocess_fn, num_parallel_calls):
    raise NotImplementedError('use gather_all for one pass over the episodes.')

  def _gather_all(self):
    """Every episode, in the order of the ring: a nest of [episodes, length, ...]."""
    return self._table.read(tf.range(self._num_episodes()))

  def _clear(self):
    self._added.assign(0)
