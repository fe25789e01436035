"""From a driver's steps to whole episodes, where some end before step H."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory
from tf_agents.typing import types

from asm_tf.replay import episode_steps


class PaddedEpisodeAccumulator(tf.Module):
  """A driver observer that pads episodes to one length and holds the newest batch of them.

  The rows after the boundary row repeat it, with action, reward and discount 0. A copy whose
  episode has ended waits until those of the other copies have; what it does meanwhile is not
  kept.
  """

  def __init__(self, data_spec: types.NestedTensorSpec, batch_size: int, length: int,
               first_episode_only: bool = False):
    """Builds the accumulator.

    Args:
      data_spec: `Trajectory` of TensorSpec of one time step.
      batch_size: of the environment.
      length: rows of the longest episode, H+1.
      first_episode_only: keep the first batch, and take nothing more until `restart`.
    """
    super().__init__(name='padded_episode_accumulator')
    self._length = length
    self._once = first_episode_only
    # The row that each copy writes next; none before the first row of an episode has come.
    self._row = tf.Variable(tf.fill([batch_size], length), trainable=False, name='row')
    self._boundary = tf.Variable(tf.zeros([batch_size], tf.int32), trainable=False,
                                 name='boundary')
    self._is_complete = tf.Variable(tf.zeros([batch_size], tf.bool), trainable=False,
                                    name='is_complete')
    self._episodes = tf.nest.map_structure(
        lambda spec: tf.Variable(tf.zeros([batch_size, length, *spec.shape], spec.dtype),
                                 trainable=False), data_spec)

  def __call__(self, trajectory: Trajectory) -> tf.Tensor:
    """Takes a time step, a Trajectory [batch_size, ...]; returns whether it completes a batch."""
    row = tf.where(trajectory.is_first(), 0, self._row)
    writes = (row < self._length) & ~self._is_complete
    copies = tf.where(writes)[:, 0]
    indices = tf.stack([copies, tf.cast(tf.gather(row, copies), tf.int64)], 1)
    variables, values = tf.nest.flatten(self._episodes), tf.nest.flatten(trajectory)
    for variable, value in zip(variables, values, strict=True):
      variable.scatter_nd_update(indices, tf.gather(value, copies))
    ends = writes & trajectory.is_boundary()
    self._boundary.assign(tf.where(ends, row, self._boundary))
    self._is_complete.assign(self._is_complete | ends)
    self._row.assign(tf.minimum(row + 1, self._length))
    completes = tf.reduce_any(ends) & self.is_complete
    if not self._once:
      tf.cond(completes, self.restart, lambda: None)
    return completes

  @property
  def is_complete(self) -> tf.Tensor:
    """Whether every copy has ended an episode since the start of the batch."""
    return tf.reduce_all(self._is_complete)

  def restart(self) -> None:
    """Begins a new batch, for each copy at the start of its next episode."""
    self._is_complete.assign(tf.zeros_like(self._is_complete))
    self._row.assign(tf.fill(self._row.shape, self._length))

  def latest(self) -> Trajectory:
    """The most recent episodes, a Trajectory [batch_size, length, ...]."""
    return episode_steps.pad(self._episodes, self._boundary)
