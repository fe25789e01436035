"""The units in which a critic counts rewards."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.models.running_moments import RunningMoments


class RewardUnits(tf.Module):
  """Counts a reward r as (r - b) / scale.

  The scale is the running standard deviation of the return, and b its running mean over the number
  of steps. Without b, what tells a good return from a bad one can be a fiftieth of the value that
  the critic has to learn (HIV treatment: 54 +- 1 in units of the spread). A constant per step
  favours no policy where all episodes have the same length; elsewhere b is 0.
  """

  def __init__(self, setup: AgentSetup, enabled: bool = True, centered: bool = True):
    """Builds the units.

    Args:
      setup: what the agent is built for.
      enabled: False leaves rewards as they are, as in the paper.
      centered: False takes b as 0 everywhere.
    """
    super().__init__(name='reward_units')
    self._enabled = enabled
    self._centered = centered and setup.system.has_fixed_length
    self._horizon = setup.system.horizon
    with setup.execution.creating_variables():
      self._returns = RunningMoments(1)

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the running moments."""
    self._returns.update(tf.reduce_sum(episodes.reward[:, :-1], 1, keepdims=True))

  def normalize(self, rewards: tf.Tensor) -> tf.Tensor:
    """Returns rewards, of any shape, as the critic counts them."""
    if not self._enabled:
      return rewards
    offset = self._returns.mean[0] / self._horizon if self._centered else 0.0
    return (rewards - offset) / self._returns.std[0]
