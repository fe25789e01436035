"""Collect, sample, update: the iteration of Algorithm 1 as one program."""

import contextlib
from collections.abc import Callable

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver

from asm_tf import memory
from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.execution import Execution
from asm_tf.agents.sac_agent import SoftActorCritic
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.environments.make_environment import failures_of, make_environment
from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.errors import UserError, require_at_least
from asm_tf.models.unrolling import has_accelerator
from asm_tf.policies.colored_noise import ColoredNoise
from asm_tf.policies.tf_policies import UniformPolicy
from asm_tf.random_streams import Stream, make_generator
from asm_tf.replay import episode_steps
from asm_tf.replay.episode_accumulator import EpisodeAccumulator
from asm_tf.replay.episode_replay_buffer import EpisodeReplayBuffer
from asm_tf.replay.padded_episode_accumulator import PaddedEpisodeAccumulator
from asm_tf.replay.window_replay_buffer import WindowReplayBuffer
from asm_tf.systems.system import System
from asm_tf.usable_numbers import are_usable

# None of what is called from the loop needs AutoGraph, whose conversion of it takes seconds.
_without_autograph = tf.autograph.experimental.do_not_convert

# A chunk of updates, between two returns to Python, takes about a second: at most _MOST_UPDATES,
# and fewer where updates times the steps of a sequence would exceed _CHUNK_STEPS.
_CHUNK_STEPS, _MOST_UPDATES = 2000, 100
# As many dropped episodes in a row are no accident.
_MAX_CONSECUTIVE_DROPS = 10


class Trainer(tf.Module):
  """Owns environment, replay and counters, and trains an agent with them.

  An episode that holds a number that is not finite, or 1e12 or more, is dropped and counted: in a
  batch of 64 trajectories, one such episode makes the whole gradient worthless.

  Attributes:
    system: what is controlled.
    env: its environment, from which episodes are collected.
    agent: learns from them.
    replay: holds them.
    warmup_steps: see the constructor; rounded up to whole episodes where all have one length.
    model_period: see the constructor.
    batch_size: replay items per `train` call.
    warm_up: function () that plays an episode of random actions.
    collect: function () that plays an episode of the exploring policy.
    last_episode: function () that returns what was played last, a Trajectory [1, H+1, ...].
  """

  def __init__(self, system: System | GymnasiumSystem,
               make_agent: Callable[[AgentSetup], tf_agent.TFAgent], seed: int,
               execution: Execution | None = None, warmup_steps: int = 1500, model_period: int = 2,
               batch_size: int = 64):
    """Builds everything that a run checkpoints.

    Args:
      system: see the class.
      make_agent: builds an agent of TF-Agents. Where it has them, `observe(episodes)` is shown
        every new episode, `metrics()` ({name: scalar}) goes into the rows, and `world`, a `World`,
        is saved with the run.
      seed: of the run.
      execution: how updates run; by default compiled, on one device. Workers of several hosts
        collect the same episodes, each for itself.
      warmup_steps: environment steps with uniform random actions before the first update; the
        episode in which they are reached is finished.
      model_period: environment steps per `train` call of the agent, exact on average (the
        paper's replay ratio 2).
      batch_size: replay items per `train` call: whole episodes, or windows of them where the
        agent's `train_sequence_length` is shorter; fewer where
        `EpisodeReplayBuffer.batch_steps` says so.
    """
    super().__init__(name='trainer')
    execution = Execution() if execution is None else execution
    sizes = {'Trainer.warmup_steps': warmup_steps, 'Trainer.model_period': model_period,
             'Trainer.batch_size': batch_size}
    require_at_least(1, **sizes)
    self.system = system
    self.warmup_steps = warmup_steps
    if system.has_fixed_length:
      self.warmup_steps = -(-warmup_steps // system.horizon) * system.horizon
    self.model_period = model_period

    self.env = make_environment(system, seed=(seed, Stream.ENVIRONMENT))
    self._warmup_generator = make_generator(seed, Stream.WARM_UP)
    noise = ColoredNoise(self._warmup_generator, system.horizon, system.action_size)
    specs = self.env.time_step_spec(), self.env.action_spec()
    self.agent = make_agent(AgentSetup(system, *specs, model_period, seed, execution))
    rows = self.agent.train_sequence_length
    if rows is None or rows < 2:
      raise UserError(f'{type(self.agent).__name__} does not learn from a replay of steps (its '
                      f'train_sequence_length is {rows}): give an off-policy agent.')
    self._chunk = min(max(1, _CHUNK_STEPS // (rows - 1)), _MOST_UPDATES)
    self.replay = _make_replay(self.agent, system, (seed, Stream.REPLAY))
    self.batch_size = _usable_batch_size(self.replay, batch_size, execution)
    self._env_steps = tf.Variable(0, dtype=tf.int64, trainable=False, name='env_steps')
    self._updates = tf.Variable(0, dtype=tf.int64, trainable=False, name='updates')
    self._collect_return = tf.Variable(0.0, trainable=False, name='collect_return')
    self._dropped = tf.Variable(0, dtype=tf.int64, trainable=False, name='dropped_episodes')
    self._consecutive_drops = 0  # of this process: a resume tries again
    accumulate = EpisodeAccumulator if system.has_fixed_length else PaddedEpisodeAccumulator
    accumulator = accumulate(self.agent.collect_data_spec, 1, system.horizon + 1)
    self.last_episode = accumulator.latest
    self.collect, self.warm_up = (
        _episode_program(DynamicEpisodeDriver(self.env, policy, [accumulator]), execution)
        for policy in (self.agent.collect_policy, UniformPolicy(*specs, noise)))

  @property
  def env_steps(self) -> int:
    """Environment steps so far, those of the warm-up included."""
    return int(self._env_steps)

  @property
  def updates(self) -> int:
    """`train` calls of the agent so far."""
    return int(self._updates)

  @property
  def collect_return(self) -> float:
    """Return of the last collected episode."""
    return float(self._collect_return)

  @property
  def dropped_episodes(self) -> int:
    """Collected episodes that were dropped: a number was not finite, or 1e12 or more."""
    return int(self._dropped)

  @property
  def only_drops_episodes(self) -> bool:
    """Whether every one of the last ten episodes was dropped."""
    return self._consecutive_drops >= _MAX_CONSECUTIVE_DROPS

  def metrics(self) -> dict[str, float]:
    """{name: value} of the agent's last updates."""
    if not hasattr(self.agent, 'metrics'):
      return {}
    return {name: float(value) for name, value in self.agent.metrics().items()}

  @property
  def is_between_episodes(self) -> bool:
    """True when every update that the collected steps call for is done."""
    return int(self._updates_due()) == 0

  def iterate(self) -> None:
    """Collects an episode unless updates are due, then does a chunk of updates."""
    steps, dropped = self.env_steps, self.dropped_episodes
    with failures_of(self.env), _divergence_of(self.agent):
      self._collect_and_update()
    if self.dropped_episodes > dropped:
      self._consecutive_drops += 1
    elif self.env_steps > steps:
      self._consecutive_drops = 0

  @tf.function
  def _collect_and_update(self):
    if self._updates_due() <= 0:
      if self._env_steps < self.warmup_steps or self.replay.num_frames() == 0:
        self.warm_up()
      else:
        self.collect()
      self._take(self.last_episode())
    for _ in tf.range(tf.minimum(self._updates_due(), self._chunk)):
      experience, _ = self.replay.get_next(self.batch_size)
      _without_autograph(self.agent.train)(experience)
      self._updates.assign_add(1)

  def _updates_due(self):
    """Updates that the steps after the warm-up call for, less those done; none without data."""
    steps = tf.maximum(self._env_steps - self.warmup_steps, 0)
    due = steps // self.model_period - self._updates
    return tf.where(self.replay.num_frames() > 0, due, 0)

  @_without_autograph
  def _take(self, episodes):
    """Takes a collected episode, a Trajectory [1, H+1, ...]."""
    self._env_steps.assign_add(tf.reduce_sum(tf.cast(episode_steps.lengths(episodes), tf.int64)))
    self._collect_return.assign(tf.reduce_mean(episode_steps.returns(episodes)))
    parts = (episodes.observation, episodes.action, episodes.reward)
    usable = tf.reduce_all([tf.reduce_all(are_usable(part)) for part in parts])
    self._dropped.assign_add(tf.where(usable, tf.constant(0, tf.int64), 1))
    tf.cond(usable, lambda: self._learn_from(episodes), lambda: None)

  def _learn_from(self, episodes):
    if hasattr(self.agent, 'observe'):
      self.agent.observe(episodes)
    self.replay.add_batch(episodes)


def _episode_program(driver, execution):
  """A function () that runs the driver for an episode.

  Compiled, an episode of a system takes a sixth of the time at H = 20. Not with an accelerator: the
  environment's variables are on the host, the policy's are not, and one program cannot use both.
  """
  if execution.jit_compile and isinstance(driver.env, SystemEnvironment) and not has_accelerator():
    return execution.compiled(driver.run, jit_compile=True)
  return _without_autograph(driver.run)


@contextlib.contextmanager
def _divergence_of(agent):
  """A context for TF-Agents' agents, which end at a loss that is not finite."""
  try:
    yield
  except tf.errors.InvalidArgumentError as error:
    if 'loss is inf or nan' not in error.message:
      raise
    rates = ('SoftActorCritic.critic_learning_rate and actor_learning_rate'
             if isinstance(agent, SoftActorCritic) else 'its learning rates')
    raise UserError(f'a loss of {type(agent).__name__} is not finite: lower {rates}, and start '
                    'again.') from error


def _usable_batch_size(replay, asked, execution):
  """What the replay makes of a batch size; `UserError` where memory or replicas do not allow it."""
  size = replay.batch_size(asked)
  memory.require_memory(replay.batch_bytes(size), 'a batch', 'give a smaller Trainer.batch_size')
  if size == asked:
    execution.require_shardable('Trainer.batch_size', size)
  else:
    execution.require_shardable('the batch that EpisodeReplayBuffer.batch_steps leaves', size,
                                'another EpisodeReplayBuffer.batch_steps, or use fewer replicas')
  return size


def _make_replay(agent, system, seed):
  """Of whole episodes, or of windows where the agent's `train_sequence_length` is shorter."""
  spec, rows = agent.collect_data_spec, system.horizon + 1
  if agent.train_sequence_length == rows:
    return EpisodeReplayBuffer(spec, rows, seed, integer_dtype=system.integer_dtype)
  window = agent.train_sequence_length - 1
  return WindowReplayBuffer(spec, rows, window, seed, integer_dtype=system.integer_dtype)
