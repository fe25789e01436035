"""A system as a TF-Agents environment: episodes, specs, noise, and TF-Agents' own checks."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.environments import py_environment, utils
from tf_agents.metrics import tf_metrics
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from asm_tf.systems.registry import SYSTEMS
from asm_tf.systems.rollout import simulate
from tests.support.uniform_policy import uniform_policy

H, B = 4, 3
every_system = pytest.mark.parametrize('system_class', SYSTEMS.values(), ids=list(SYSTEMS))


class PyView(py_environment.PyEnvironment):
  """The environment in numpy, for TF-Agents' validation."""

  def __init__(self, env):
    super().__init__(handle_auto_reset=False)
    self._env = env

  @property
  def batched(self):
    return True

  @property
  def batch_size(self):
    return self._env.batch_size

  def time_step_spec(self):
    return tensor_spec.to_nest_array_spec(self._env.time_step_spec())

  def observation_spec(self):
    return self.time_step_spec().observation

  def action_spec(self):
    return tensor_spec.to_nest_array_spec(self._env.action_spec())

  def _reset(self):
    return tf.nest.map_structure(lambda x: x.numpy(), self._env.reset())

  def _step(self, action):
    return tf.nest.map_structure(lambda x: x.numpy(), self._env.step(action))


def random_actions(system, seed=0, batch=B):
  shape = (batch, system.horizon, system.action_size)
  return tf.constant(np.random.default_rng(seed).uniform(-1, 1, shape), system.dtype)


def run_episode(env, actions):
  """The H+1 time steps of an episode, from its reset."""
  return [env.reset(), *(env.step(actions[:, t]) for t in range(actions.shape[1]))]


def stack(time_steps):
  return tf.nest.map_structure(lambda *x: np.stack(x, 1), *time_steps)


@every_system
@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_an_episode_equals_simulate(system_class, dtype):
  system = system_class(H, dtype=dtype)
  actions = random_actions(system)
  states, rewards = simulate(system, actions)
  episode = stack(run_episode(SystemEnvironment(system, B), actions))
  np.testing.assert_allclose(episode.observation[..., :-1], states, rtol=1e-6, atol=1e-6)
  np.testing.assert_array_equal(episode.observation[..., -1], np.tile(range(H + 1), (B, 1)))
  np.testing.assert_allclose(episode.reward[:, 1:], rewards, rtol=1e-5, atol=1e-6)
  assert episode.observation.dtype == dtype
  assert episode.reward.dtype == tf.float32


def test_an_episode_has_exactly_h_steps_and_ends_in_a_termination():
  system = CancerTreatment(H)
  episode = stack(run_episode(SystemEnvironment(system, B), random_actions(system)))
  first, mid, last = ts.StepType.FIRST, ts.StepType.MID, ts.StepType.LAST
  np.testing.assert_array_equal(episode.step_type, np.tile([first, mid, mid, mid, last], (B, 1)))
  np.testing.assert_array_equal(episode.discount, np.tile([1, 1, 1, 1, 0], (B, 1)))
  np.testing.assert_array_equal(episode.reward[:, 0], np.zeros(B))


def test_a_limit_that_only_cuts_short_discounts_nothing():
  system = CancerTreatment(H)
  system.time_aware = False
  episode = stack(run_episode(SystemEnvironment(system, B), random_actions(system)))
  np.testing.assert_array_equal(episode.discount, np.ones((B, H + 1)))
  assert np.all(episode.step_type[:, -1] == ts.StepType.LAST)


def assert_same(actual, expected):
  tf.nest.map_structure(np.testing.assert_array_equal, actual, expected)


def test_a_step_after_the_last_resets_and_ignores_its_action():
  system = CancerTreatment(H)
  env = SystemEnvironment(system, B)
  first, *_, last = run_episode(env, random_actions(system))
  assert_same(env.current_time_step(), last)
  assert_same(env.step(tf.ones([B, 1])), first)
  assert_same(env.current_time_step(), first)
  actions = random_actions(system, seed=1)
  second = stack([first, *(env.step(actions[:, t]) for t in range(H))])
  assert_same(second, stack(run_episode(env, actions)))


def test_before_the_first_reset_both_ways_in_start_an_episode():
  system = CancerTreatment(H)
  first = SystemEnvironment(system, B).reset()
  assert np.all(first.is_first())
  assert_same(SystemEnvironment(system, B).current_time_step(), first)
  assert_same(SystemEnvironment(system, B).step(tf.ones([B, 1])), first)


def test_a_reset_in_mid_episode_starts_anew():
  system = CancerTreatment(H)
  env, actions = SystemEnvironment(system, B), random_actions(system)
  episode = stack(run_episode(env, actions))
  env.reset()
  env.step(actions[:, 0])
  assert_same(stack(run_episode(env, actions)), episode)


@pytest.mark.parametrize('noise', [0.0, 0.1])
def test_in_a_graph_it_does_the_same(noise):
  system = CancerTreatment(H, process_noise=noise)
  eager, graph = SystemEnvironment(system, B, seed=3), SystemEnvironment(system, B, seed=3)
  actions = random_actions(system)
  reset, step = tf.function(graph.reset), tf.function(graph.step)
  actual = stack([reset(), *(step(actions[:, t]) for t in range(H))])
  tf.nest.map_structure(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
                        actual, stack(run_episode(eager, actions)))


@every_system
def test_specs_hold_the_real_bounds_and_validate(system_class):
  system = system_class(H)
  env = SystemEnvironment(system, B)
  spec, action_spec = env.observation_spec(), env.action_spec()
  np.testing.assert_allclose(spec.minimum, np.append(system.state_low, 0), rtol=1e-6)
  np.testing.assert_allclose(spec.maximum, np.append(system.state_high, H), rtol=1e-6)
  assert spec.shape == (system.state_size + 1,)
  assert action_spec.shape == (system.action_size,)
  assert np.all(action_spec.minimum == -1)
  assert np.all(action_spec.maximum == 1)
  utils.validate_py_environment(PyView(env), episodes=B)


def test_distractors_fit_the_spec():
  system = CancerTreatment(H, process_noise=0.3, distractors=2)
  utils.validate_py_environment(PyView(SystemEnvironment(system, B)), episodes=B)


def test_the_validation_finds_a_wrong_observation():
  env = PyView(SystemEnvironment(CancerTreatment(H), B))
  spec = env.time_step_spec()
  spec.observation._minimum = spec.observation.maximum
  env.time_step_spec = lambda: spec
  with pytest.raises(ValueError, match='does not match'):
    utils.validate_py_environment(env)


@pytest.mark.parametrize('batch_size', [1, 2])
def test_tf_agents_driver_and_metric_see_the_return(batch_size):
  system = InvasivePlant(H)
  env = SystemEnvironment(system, batch_size)
  policy = uniform_policy(env, H)
  metric, rows = tf_metrics.AverageReturnMetric(batch_size=batch_size), []
  observers = [metric, lambda row: rows.append(tf.nest.map_structure(tf.identity, row))]
  DynamicEpisodeDriver(env, policy, observers, num_episodes=3 * batch_size).run()
  actions = [row.action for row in rows if not row.is_boundary()[0]]
  assert len(actions) == 3 * H
  returns = [tf.reduce_sum(simulate(system, tf.stack(actions[i:i + H], 1))[1], 1)
             for i in range(0, 3 * H, H)]
  np.testing.assert_allclose(metric.result(), np.mean(returns), rtol=1e-5)


def test_noise_is_fixed_by_the_seed_and_fresh_everywhere_else():
  system = CancerTreatment(200, process_noise=1e-3)  # so short a step that none meets a bound
  actions = tf.zeros([B, H, 1])

  def three_episodes(seed):
    env, states = SystemEnvironment(system, B, seed), []
    for episode in range(3):
      if episode == 2:
        env.reseed()
      states.append(stack(run_episode(env, actions)).observation[:, 1:, 0])
    return np.stack(states)

  states = three_episodes(7)
  np.testing.assert_array_equal(three_episodes(7), states)
  np.testing.assert_array_equal(states[2], states[0])
  assert not np.any(three_episodes(8) == states)
  assert len(np.unique(states[:2, :, 0])) == 2 * B  # no episode, no copy repeats another


def test_neighbouring_seeds_share_no_noise():
  system, copies = CancerTreatment(200, process_noise=1e-3), 32

  def reached(seed):
    env = SystemEnvironment(system, copies, seed=(seed, 6))
    env.reset()
    return env.step(tf.zeros([copies, 1])).observation[:, 0].numpy()

  assert not set(reached(0)) & set(reached(1))


def test_noise_has_the_systems_scale():
  copies, system = 2000, CancerTreatment(200, process_noise=0.01)
  env, action = SystemEnvironment(system, copies), tf.zeros([copies, 1])
  env.reset()
  moved = env.step(action).observation[:, :-1] - system.step(
      system.initial_state(copies), action, 0)
  assert np.std(moved) == pytest.approx(0.01, rel=0.05)
  assert np.mean(moved) == pytest.approx(0, abs=0.001)


def test_a_checkpoint_in_mid_episode_goes_on_the_same(tmp_path):
  system = CancerTreatment(H, process_noise=0.1)
  env, other = SystemEnvironment(system, B, seed=1), SystemEnvironment(system, B, seed=2)
  actions = random_actions(system)
  env.reset()
  env.step(actions[:, 0])
  path = tf.train.Checkpoint(**env.checkpoint_items()).save(str(tmp_path / 'checkpoint'))
  expected = [env.current_time_step(), *(env.step(actions[:, t]) for t in (1, 2, 3))]
  tf.train.Checkpoint(**other.checkpoint_items()).restore(path).assert_consumed()
  actual = [other.current_time_step(), *(other.step(actions[:, t]) for t in (1, 2, 3))]
  assert_same(stack(actual), stack(expected))


def test_an_action_of_the_wrong_shape_is_refused():
  env = SystemEnvironment(CancerTreatment(H), B)
  env.reset()
  with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match='shape'):
    env.step(tf.zeros([B, 2]))
