"""From a driver's steps to whole episodes."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory
from tf_agents.typing import types


class EpisodeAccumulator(tf.Module):
  """A driver observer that holds the newest batch of episodes.

  An episode of H steps is H+1 rows: the last is the boundary row that TF-Agents'
  drivers emit between episodes, and holds s_H.
  """

  def __init__(self, data_spec: types.NestedTensorSpec, batch_size: int, length: int):
    """Builds the accumulator.

    Args:
      data_spec: nest of TensorSpec of one time step.
      batch_size: of the environment, whose copies run in lock-step.
      length: rows an episode, H+1.
    """
    super().__init__(name='episode_accumulator')
    self._length = length
    self._row = tf.Variable(0, trainable=False, name='row')
    self._episodes = tf.nest.map_structure(
        lambda spec: tf.Variable(tf.zeros([length, batch_size, *spec.shape], spec.dtype),
                                 trainable=False), data_spec)

  def __call__(self, trajectory: Trajectory) -> tf.Tensor:
    """Takes a time step, a nest of [batch_size, ...]; returns whether the batch is complete."""
    # The first row of an episode is always row 0, wherever the last one stopped.
    row = tf.where(trajectory.is_first()[0], 0, self._row)
    variables, values = tf.nest.flatten(self._episodes), tf.nest.flatten(trajectory)
    for variable, value in zip(variables, values, strict=True):
      variable.scatter_nd_update([[row]], value[None])
    self._row.assign(row + 1)
    return row + 1 == self._length

  def latest(self) -> types.NestedTensor:
    """The most recent episodes, a nest of [batch_size, length, ...]."""
    return tf.nest.map_structure(
        lambda x: tf.transpose(x, [1, 0, *range(2, len(x.shape))]), self._episodes)
