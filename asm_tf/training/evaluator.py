"""Evaluation of a policy in an environment of its own."""

import collections

import tensorflow as tf
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.trajectories import trajectory

from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.replay.episode_accumulator import EpisodeAccumulator

Evaluation = collections.namedtuple('Evaluation', 'mean_return states actions')

_STOCHASTIC_EPISODES = 32


class Evaluator:
  """Runs a policy for whole episodes: one where nothing is random, else 32.

  Every evaluation draws the same noise, so that two of them can be compared and an
  evaluation depends on nothing but the policy.
  """

  def __init__(self, system, make_policy, seed=0):
    """Builds the evaluator.

    Args:
      system: `System`.
      make_policy: function (time_step_spec, action_spec) -> TFPolicy.
      seed: of the process noise, where the system has any.
    """
    episodes = _STOCHASTIC_EPISODES if system.is_stochastic else 1
    self._env = env = SystemEnvironment(system, batch_size=episodes, seed=(seed, 6))
    policy = make_policy(env.time_step_spec(), env.action_spec())
    spec = policy.trajectory_spec
    self._accumulator = EpisodeAccumulator(spec, episodes, system.horizon + 1, [])
    self._driver = DynamicEpisodeDriver(env, policy, [self._accumulator], num_episodes=episodes)
    self._run = tf.function(self._roll_out, autograph=False)

  def evaluate(self):
    """The mean return, and the states [H+1, n] and actions [H, m] of one episode."""
    episodes = self._run()
    returns = tf.reduce_sum(episodes.reward[:, :-1], 1)
    return Evaluation(
        float(tf.reduce_mean(returns)), episodes.observation[0, :, :-1].numpy(),
        episodes.action[0, :-1].numpy())

  def _roll_out(self) -> trajectory.Trajectory:
    self._env.reseed()
    self._driver.run()
    return self._accumulator.latest()
