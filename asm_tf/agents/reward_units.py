"""The units in which a critic counts rewards."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.models.running_moments import RunningMoments
from asm_tf.replay import episode_steps


class RewardUnits(tf.Module):
  """Counts a reward r as (r - b) / scale.

  In a problem of H steps the scale is the running standard deviation of the return, and b the
  return's running mean divided by H. Without b, what tells a good return from a bad
  one can be a fiftieth of the value that the critic has to learn (HIV treatment: 54 +- 1 in units
  of the spread). A constant per step favours no policy where all episodes have the same length;
  elsewhere b is 0.

  Where H only cuts episodes short, the scale is the root mean square of all rewards, which changes
  less than the returns of a policy that learns to survive, and b is 0.
  """

  def __init__(self, setup: AgentSetup, enabled: bool = True, centered: bool = True):
    """Builds the units.

    Args:
      setup: what the agent is built for.
      enabled: False counts rewards as they are.
      centered: False leaves b at 0.
    """
    super().__init__(name='reward_units')
    system = setup.system
    self._enabled = enabled
    self._time_aware = system.time_aware
    self._centered = centered and system.has_fixed_length and system.time_aware
    self._horizon = system.horizon
    with setup.execution.creating_variables():
      self._moments = RunningMoments(1)  # of returns or of rewards

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the running moments."""
    if self._time_aware:
      self._moments.update(episode_steps.returns(episodes)[:, None])
    else:
      self._moments.update(tf.reshape(episodes.reward[:, :-1], [-1, 1]),
                           tf.reshape(episode_steps.steps_taken(episodes), [-1]))

  @property
  def scale(self) -> tf.Tensor:
    """A scalar."""
    if not self._enabled:
      return tf.ones([])
    if self._time_aware:
      return self._moments.std[0]
    square = self._moments.mean[0]**2 + self._moments.spread[0]**2
    return tf.where(square > 0, tf.sqrt(square), 1.0)

  def normalize(self, rewards: tf.Tensor) -> tf.Tensor:
    """Returns rewards, of any shape, as the critic counts them."""
    if not self._enabled:
      return rewards
    offset = self._moments.mean[0] / self._horizon if self._centered else 0.0
    return (rewards - offset) / self.scale
