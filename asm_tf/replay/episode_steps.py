"""Which rows of padded episodes are real.

An episode of L <= H steps is H+1 rows: L steps, the boundary row with s_L, and copies of it
in which nothing happens (`PaddedEpisodeAccumulator`). TF-Agents' step type LAST marks the
boundary row and all copies.
"""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory


def steps_taken(episodes: Trajectory) -> tf.Tensor:
  """[B, H] of a Trajectory [B, H+1, ...]: whether the agent acted at step t."""
  return ~episodes.is_boundary()[:, :-1]


def states_visited(episodes: Trajectory) -> tf.Tensor:
  """[B, H+1] of a Trajectory [B, H+1, ...]: whether row t holds a state that was visited."""
  taken = steps_taken(episodes)
  return tf.concat([tf.ones_like(taken[:, :1]), taken], 1)


def pad(episodes: Trajectory, last: tf.Tensor) -> Trajectory:
  """Returns a Trajectory [B, T, ...] whose rows after row `last` [B] repeat it.

  The repeated rows have action, reward and discount 0.
  """
  rows = tf.range(episodes.step_type.shape[1])
  is_padding = rows > last[:, None]  # [B, T]
  source = tf.minimum(rows, last[:, None])
  padded = tf.nest.map_structure(
      lambda x: tf.gather(x, source, axis=1, batch_dims=1), episodes)

  def cleared(x):
    return tf.where(tf.reshape(is_padding, is_padding.shape + [1] * (len(x.shape) - 2)),
                    tf.zeros_like(x), x)

  # The reward of a boundary row is 0 already.
  return padded._replace(action=cleared(padded.action), discount=cleared(padded.discount))


def returns(episodes: Trajectory) -> tf.Tensor:
  """[B], the sum of the rewards of each episode of a Trajectory [B, H+1, ...]."""
  return tf.reduce_sum(episodes.reward[:, :-1], 1)


def lengths(episodes: Trajectory) -> tf.Tensor:
  """[B], the number of steps of each episode of a Trajectory [B, H+1, ...]."""
  return tf.reduce_sum(tf.cast(steps_taken(episodes), tf.int32), 1)
