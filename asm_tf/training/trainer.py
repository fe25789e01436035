"""Collect, sample, update: the iteration of Algorithm 1 as one program."""

import tensorflow as tf
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver

from asm_tf.agents.programs import require_shares
from asm_tf.environments.make_environment import failures_of, make_environment
from asm_tf.errors import require_at_least
from asm_tf.policies.tf_policies import UniformPolicy
from asm_tf.replay import episode_steps
from asm_tf.replay.episode_accumulator import EpisodeAccumulator
from asm_tf.replay.episode_replay_buffer import EpisodeReplayBuffer
from asm_tf.replay.padded_episode_accumulator import PaddedEpisodeAccumulator

# Environment steps' worth of updates between two returns to Python: about a second.
_CHUNK = 2000
# So many episodes in a row that are not finite are no accident.
_MOST_DROPPED_IN_A_ROW = 10


class Trainer(tf.Module):
  """Owns environment, replay and counters, and trains an agent with them.

  An episode that holds a number that is not finite is left out of the replay and counted:
  in a batch of 64 trajectories one such makes the whole gradient worthless.
  """

  def __init__(self, system, make_agent, seed, warmup_steps=1500, model_period=2,
               batch_size=64, replay_capacity=1_000_000, make_replay=EpisodeReplayBuffer,
               strategy=None):
    """Builds everything that a run checkpoints.

    Args:
      system: `System` or `GymnasiumSystem`.
      make_agent: function (system, time_step_spec, action_spec, model_period, seed,
        strategy) -> TFAgent, which may have `observe(episodes)`.
      seed: of the run.
      warmup_steps: environment steps with uniform random actions before the first
        update; the episode in which they are reached is finished.
      model_period: environment steps a `train` call of the agent, exact on average
        (the paper's dynamics replay ratio 2).
      batch_size: items of the replay a `train` call: trajectories or transitions.
      replay_capacity: environment steps kept; where they are kept as transitions, (H+1)/H of them.
      make_replay: class of replay buffer, filled with whole episodes.
      strategy: tf.distribute strategy among whose replicas the batches are shared, or
        None. Workers of several hosts collect the same episodes, each for itself.
    """
    super().__init__(name='trainer')
    require_at_least(
        1, warmup_steps=warmup_steps, model_period=model_period, batch_size=batch_size)
    require_at_least(system.horizon, replay_capacity=replay_capacity)
    require_shares(strategy, batch_size=batch_size)
    self.system = system
    self._warmup_steps = warmup_steps
    if system.has_fixed_length:
      self._warmup_steps = -(-warmup_steps // system.horizon) * system.horizon
    self._model_period = model_period
    self._batch_size = batch_size
    self._chunk = max(1, _CHUNK // system.horizon)

    self.env = make_environment(system, seed=(seed, 3))
    self._warmup_generator = tf.random.Generator.from_seed((seed, 4), alg='philox')
    self.agent = make_agent(system=system, time_step_spec=self.env.time_step_spec(),
                            action_spec=self.env.action_spec(), model_period=model_period,
                            seed=seed, strategy=strategy)
    spec, rows = self.agent.collect_data_spec, system.horizon + 1
    capacity = replay_capacity // system.horizon * rows  # the boundary rows are no steps
    self.replay = make_replay(spec, rows, capacity, seed=(seed, 5))
    self._env_steps = tf.Variable(0, dtype=tf.int64, trainable=False, name='env_steps')
    self._updates = tf.Variable(0, dtype=tf.int64, trainable=False, name='updates')
    self._collect_return = tf.Variable(0.0, trainable=False, name='collect_return')
    self._dropped = tf.Variable(0, dtype=tf.int64, trainable=False, name='dropped_episodes')
    self._dropped_in_a_row = 0  # of this process: a resume tries again
    accumulate = EpisodeAccumulator if system.has_fixed_length else PaddedEpisodeAccumulator
    accumulator = accumulate(spec, 1, rows, [self._take])
    driver = DynamicEpisodeDriver(self.env, self.agent.collect_policy, [accumulator])
    warmup_policy = UniformPolicy(
        self.env.time_step_spec(), self.env.action_spec(), self._warmup_generator)
    warmup_driver = DynamicEpisodeDriver(self.env, warmup_policy, [accumulator])
    # None of this needs AutoGraph, whose conversion of TF-Agents' code takes seconds.
    self.collect, self._train = map(
        tf.autograph.experimental.do_not_convert, (driver.run, self.agent.train))
    self._warm_up = tf.function(warmup_driver.run, autograph=False)

  @property
  def env_steps(self):
    return int(self._env_steps)

  @property
  def updates(self):
    return int(self._updates)

  @property
  def collect_return(self):
    """Return of the last collected episode."""
    return float(self._collect_return)

  @property
  def dropped_episodes(self):
    """Collected episodes that were not finite, and left out."""
    return int(self._dropped)

  @property
  def gets_nothing(self):
    """True when every one of the last episodes was left out."""
    return self._dropped_in_a_row >= _MOST_DROPPED_IN_A_ROW

  def losses(self):
    """{name: value} of the agent's last updates."""
    return {name: float(value) for name, value in self.agent.losses().items()}

  @property
  def is_between_episodes(self):
    """True when every update that the collected steps call for is done."""
    return int(self._updates_due()) == 0

  def iterate(self):
    """Collects an episode unless updates are due, then does a chunk of updates."""
    steps, dropped = self.env_steps, self.dropped_episodes
    replay_is_empty = int(self.replay.num_frames()) == 0
    with failures_of(self.env):
      if steps < self._warmup_steps or replay_is_empty:
        self._warm_up()
      else:
        self._collect_and_update()
    if self.dropped_episodes > dropped:
      self._dropped_in_a_row += 1
    elif self.env_steps > steps:
      self._dropped_in_a_row = 0

  @tf.function
  def _collect_and_update(self):
    if self._updates_due() <= 0:
      self.collect()
    for _ in tf.range(tf.minimum(self._updates_due(), self._chunk)):
      experience, _ = self.replay.get_next(self._batch_size)
      self._train(experience)
      self._updates.assign_add(1)

  def _updates_due(self):
    """Updates that the steps after the warm-up call for, less those done."""
    steps = tf.maximum(self._env_steps - self._warmup_steps, 0)
    return steps // self._model_period - self._updates

  def _take(self, episodes):
    """Takes a collected episode, a Trajectory [1, H+1, ...]."""
    self._env_steps.assign_add(tf.reduce_sum(tf.cast(episode_steps.lengths(episodes), tf.int64)))
    self._collect_return.assign(tf.reduce_mean(tf.reduce_sum(episodes.reward[:, :-1], 1)))
    parts = (episodes.observation, episodes.action, episodes.reward)
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(part)) for part in parts])
    tf.cond(finite, lambda: self._learn_from(episodes), lambda: self._dropped.assign_add(1))

  def _learn_from(self, episodes):
    if hasattr(self.agent, 'observe'):
      self.agent.observe(episodes)
    self.replay.add_batch(episodes)
    return self._dropped.read_value()
