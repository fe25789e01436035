"""Evaluation of a policy in an environment of its own."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.policies import tf_policy
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf import memory
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.environments.make_environment import failures_of, make_environment
from asm_tf.errors import require_at_least
from asm_tf.random_streams import Stream
from asm_tf.replay import episode_steps
from asm_tf.replay.episode_accumulator import EpisodeAccumulator
from asm_tf.replay.padded_episode_accumulator import PaddedEpisodeAccumulator
from asm_tf.systems.system import System

_STOCHASTIC_EPISODES = 32
_ROWS_AT_ONCE = 32  # between two looks whether all episodes have ended


class Evaluation(NamedTuple):
  """Episodes of one evaluation.

  Attributes:
    mean_return: over the episodes.
    mean_length: steps.
    states: [L+1, n] of one episode.
    actions: [L, m] of the same.
    returns: [episodes].
  """

  mean_return: float
  mean_length: float
  states: np.ndarray
  actions: np.ndarray
  returns: np.ndarray


class Evaluator:
  """Runs a policy for whole episodes: one where nothing is random, else 32 by default.

  Every evaluation draws the same noise and initial states: it depends on the policy only, and
  two evaluations can be compared.

  Attributes:
    policy: that is evaluated.
  """

  def __init__(self, system: System | GymnasiumSystem,
               make_policy: Callable[..., tf_policy.TFPolicy], seed: int = 0,
               episodes: int = _STOCHASTIC_EPISODES):
    """Builds the evaluator.

    Args:
      system: what the policy controls.
      make_policy: function (time_step_spec, action_spec) -> TFPolicy.
      seed: of the process noise and the initial states, where they are random.
      episodes: number of episodes, where anything is random.

    Raises:
      UserError: if the episodes do not fit into memory.
    """
    require_at_least(1, episodes=episodes)
    self._system = system
    self._episodes = episodes if system.is_stochastic else 1
    copies = self._episodes
    if isinstance(system, GymnasiumSystem):
      copies = min(copies, system.copies)
    rows, is_fixed = system.horizon + 1, system.has_fixed_length
    memory.require_memory(
        4 * self._episodes * rows * (system.state_size + system.action_size),  # float32
        f'{self._episodes} episodes', 'evaluate fewer, or give a smaller horizon')
    self._env = env = make_environment(system, batch_size=copies, seed=(seed, Stream.EVALUATION))
    self.policy = make_policy(env.time_step_spec(), env.action_spec())
    spec = self.policy.trajectory_spec
    accumulate = EpisodeAccumulator if is_fixed else functools.partial(
        PaddedEpisodeAccumulator, first_episode_only=True)
    self._accumulator = accumulate(spec, copies, rows)
    # Copies whose episodes end early run on, unobserved, until the first of each has ended.
    self._driver = DynamicEpisodeDriver(
        env, self.policy, [self._accumulator], num_episodes=copies * (1 if is_fixed else rows))
    self._is_fixed, self._rows_at_once = is_fixed, min(_ROWS_AT_ONCE, rows)
    self._run = tf.function(self._roll_out, autograph=False)

  def evaluate(self) -> Evaluation:
    """Runs the policy."""
    rounds = -(-self._episodes // self._env.batch_size)
    batches = []
    with failures_of(self._env):
      for number in range(rounds):
        # What copies met after an early end, unobserved, must not move the episodes to come.
        self._env.reseed(number)
        batches.append(self._run())
    episodes = tf.nest.map_structure(
        lambda *parts: tf.concat(parts, 0)[:self._episodes], *batches)
    returns = episode_steps.returns(episodes)
    steps = episode_steps.lengths(episodes).numpy()
    mean_length = self._system.horizon if self._system.has_fixed_length else float(steps.mean())
    return Evaluation(
        float(tf.reduce_mean(returns)), mean_length,
        episodes.observation[0, :steps[0] + 1, :-1].numpy(), episodes.action[0, :steps[0]].numpy(),
        returns.numpy())

  def _roll_out(self) -> Trajectory:
    if self._is_fixed:
      self._driver.run()
      return self._accumulator.latest()
    self._accumulator.restart()
    go_on = functools.partial(self._driver.run, maximum_iterations=self._rows_at_once)
    tf.while_loop(lambda *_: ~self._accumulator.is_complete, go_on, go_on())
    return self._accumulator.latest()
