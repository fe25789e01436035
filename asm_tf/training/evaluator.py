"""Evaluation of a policy in an environment of its own."""

import collections
import functools

import tensorflow as tf
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.trajectories import trajectory

from asm_tf.environments.make_environment import failures_of, make_environment
from asm_tf.errors import require_at_least
from asm_tf.replay import episode_steps
from asm_tf.replay.episode_accumulator import EpisodeAccumulator
from asm_tf.replay.padded_episode_accumulator import PaddedEpisodeAccumulator

Evaluation = collections.namedtuple('Evaluation', 'mean_return mean_length states actions returns')

_STOCHASTIC_EPISODES = 32


class Evaluator:
  """Runs a policy for whole episodes: one where nothing is random, else 32 by default.

  Every evaluation draws the same noise and starts, so that two of them can be compared and an
  evaluation depends on nothing but the policy.
  """

  def __init__(self, system, make_policy, seed=0, episodes=_STOCHASTIC_EPISODES):
    """Builds the evaluator.

    Args:
      system: `System` or `GymnasiumSystem`.
      make_policy: function (time_step_spec, action_spec) -> TFPolicy.
      seed: of the process noise and the starts, where the system draws any.
      episodes: how many, where anything is random.
    """
    require_at_least(1, episodes=episodes)
    self._system = system
    episodes = episodes if system.is_stochastic else 1
    self._env = env = make_environment(system, batch_size=episodes, seed=(seed, 6))
    policy = make_policy(env.time_step_spec(), env.action_spec())
    spec = policy.trajectory_spec
    rows, is_fixed = system.horizon + 1, system.has_fixed_length
    accumulate = (
        EpisodeAccumulator if is_fixed else functools.partial(PaddedEpisodeAccumulator, once=True))
    self._accumulator = accumulate(spec, episodes, rows, [])
    # Copies whose episodes end early run on, unobserved, until all of them have had time to.
    self._driver = DynamicEpisodeDriver(
        env, policy, [self._accumulator], num_episodes=episodes * (1 if is_fixed else rows))
    self._most_rows = None if is_fixed else rows
    self._run = tf.function(self._roll_out, autograph=False)

  def evaluate(self):
    """Mean return and length, states [L+1, n] and actions [L, m] of one episode, all returns."""
    with failures_of(self._env):
      episodes = self._run()
    returns = tf.reduce_sum(episodes.reward[:, :-1], 1)
    steps = episode_steps.lengths(episodes).numpy()
    mean_length = self._system.horizon if self._system.has_fixed_length else float(steps.mean())
    return Evaluation(
        float(tf.reduce_mean(returns)), mean_length,
        episodes.observation[0, :steps[0] + 1, :-1].numpy(), episodes.action[0, :steps[0]].numpy(),
        returns.numpy())

  def _roll_out(self) -> trajectory.Trajectory:
    self._env.reseed()
    if self._most_rows is not None:
      self._accumulator.restart()
    self._driver.run(maximum_iterations=self._most_rows)
    return self._accumulator.latest()
