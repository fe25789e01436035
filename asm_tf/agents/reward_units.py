"""The units in which a critic counts rewards."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.models.running_moments import RunningMoments
from asm_tf.replay import episode_steps


class RewardUnits(tf.Module):
  """Counts a reward r as (r - b) / scale.

  In a problem of H steps the scale is the running standard deviation of the return, and b the
  return's running mean over the number of steps. Without b, what tells a good return from a bad
  one can be a fiftieth of the value that the critic has to learn (HIV treatment: 54 +- 1 in units
  of the spread). A constant per step favours no policy where all episodes have the same length;
  elsewhere b is 0.

  Where episodes have no end of their own, the scale is the running standard deviation of the
  discounted return from a step on, over all steps, and b is 0.
  """

  def __init__(self, setup: AgentSetup, enabled: bool, discount: float, centered: bool = True):
    """Builds the units.

    Args:
      setup: what the agent is built for.
      enabled: False counts rewards as they are.
      discount: gamma.
      centered: False leaves b at 0.
    """
    super().__init__(name='reward_units')
    system = setup.system
    self._enabled = enabled
    self._discount = None if system.time_aware else discount
    self._centered = centered and system.has_fixed_length and system.time_aware
    self._horizon = system.horizon
    with setup.execution.creating_variables():
      self._returns = RunningMoments(1)

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the running moments."""
    rewards = episodes.reward[:, :-1]
    if self._discount is None:
      self._returns.update(tf.reduce_sum(rewards, 1, keepdims=True))
      return
    from_steps = tf.scan(lambda later, reward: reward + self._discount * later,
                         tf.transpose(rewards), reverse=True)  # [H, B]
    taken = tf.transpose(episode_steps.steps_taken(episodes))
    self._returns.update(tf.reshape(from_steps, [-1, 1]), tf.reshape(taken, [-1]))

  @property
  def scale(self) -> tf.Tensor:
    """A scalar."""
    return self._returns.std[0] if self._enabled else tf.ones([])

  def normalize(self, rewards: tf.Tensor) -> tf.Tensor:
    """Returns rewards, of any shape, as the critic counts them."""
    if not self._enabled:
      return rewards
    offset = self._returns.mean[0] / self._horizon if self._centered else 0.0
    return (rewards - offset) / self.scale
