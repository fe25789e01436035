"""Validation of windows in a world that is known: what is imagined there is what is met."""

import math
import types

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents import window_validation
from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.execution import Execution
from asm_tf.agents.window_validation import WindowValidation
from asm_tf.agents.world import World
from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.rollout import simulate
from asm_tf.systems.system import System

H, K = 9, 3


class Drift(System):
  """s' = s + t a, r = (1 + t) s - a^2."""

  start = (0.3,)
  state_bounds = ((-100.0, 100.0),)
  control_bounds = ((-1.0, 1.0),)
  duration = 1.0

  def _transition(self, state, action, t):
    return state + tf.cast(t, state.dtype)[..., None] * action

  def _reward(self, state, action, t):
    return (1 + tf.cast(t, state.dtype)) * state[..., 0] - action[..., 0]**2


class Waves(tf.Module):
  """a_t = tanh(sin(t)) in every state, without noise."""

  def __call__(self, state, t):
    mean = tf.sin(tf.cast(t, state.dtype))[..., None] + tf.zeros_like(state)
    return mean, tf.fill(tf.shape(mean), -30.0)


def validated(played, length, reward_error=0.0, dynamics=None, episodes=1):
  """The metrics after an episode of `length` steps, played by a policy, and its rewards [H]."""
  system = Drift(H)
  env = SystemEnvironment(system, 1)
  setup = AgentSetup(system, env.time_step_spec(), env.action_spec(), 2, 0,
                     Execution(jit_compile=False), window=K)
  critic = types.SimpleNamespace(trust=tf.Variable(1.0), ending=None)
  world = World(TrueDynamics(dynamics or system), lambda *now: system.reward(*now) + reward_error,
                Normalizer(1, H, enabled=False), critic)
  actions = tf.tanh(played(tf.zeros([1, H, 1]), tf.range(H))[0])
  states, rewards = simulate(system, actions)
  t = tf.range(H + 1)
  kinds = tf.where(t == 0, 0, tf.where(t < length, 1, 2))
  pad = [[0, 0], [0, 1]]
  validation = WindowValidation(world, Waves(), setup)
  for _ in range(episodes):
    validation.observe(Trajectory(
        kinds[None], tf.concat([states, tf.cast(t, tf.float32)[None, :, None]], -1),
        tf.pad(actions, [*pad, [0, 0]]), (), tf.concat([kinds[1:], [0]], 0)[None],
        tf.pad(rewards, pad), tf.ones([1, H + 1])))
  found = {name: float(value) for name, value in validation.metrics.values().items()}
  assert found['model_trust'] == pytest.approx(float(critic.trust))
  return found, rewards[0].numpy()


def test_an_episode_without_a_whole_window_measures_no_return():
  found, _ = validated(Waves(), K - 1)
  for name in ('window_return', 'imagined_window_return', 'window_return_spread'):
    assert math.isnan(found[name]), name
  assert found['validation_skill'] == pytest.approx(1.0)


@pytest.mark.parametrize(('length', 'windows'), [(H, 3), (H - 1, 2), (H - 2, 2)])
def test_the_policy_imagines_what_it_met_in_whole_windows(length, windows):
  found, rewards = validated(Waves(), length)
  returns = rewards.reshape(-1, K).sum(1)[:windows]
  assert np.std(returns) > 0.1
  assert found['window_return'] == pytest.approx(np.mean(returns), rel=1e-5)
  assert found['imagined_window_return'] == pytest.approx(np.mean(returns), rel=1e-4)
  assert found['window_return_spread'] == pytest.approx(np.std(returns), rel=1e-4)
  assert found['model_validation_loss'] == pytest.approx(0, abs=1e-9)


def test_a_reward_that_is_overrated_is_imagined_and_not_met():
  found, rewards = validated(Waves(), H, reward_error=0.5)
  assert found['window_return'] == pytest.approx(np.sum(rewards) / 3, rel=1e-5)
  assert found['imagined_window_return'] == pytest.approx(
      found['window_return'] + 0.5 * K, rel=1e-4)


class Slow(Drift):
  """A model that sees three quarters of every step."""

  def _transition(self, state, action, t):
    return state + 0.75 * tf.cast(t, state.dtype)[..., None] * action


@pytest.mark.parametrize('episodes', [1, 3])
def test_a_model_is_trusted_by_the_share_of_the_change_that_it_predicts(episodes):
  true, _ = validated(Waves(), H)
  assert true['model_trust'] == true['validation_skill'] == 1
  slow, _ = validated(Waves(), H, dynamics=Slow(H), episodes=episodes)
  assert slow['validation_skill'] == pytest.approx(1 - 0.25**2, rel=1e-5)  # squared errors
  assert slow['model_trust'] == pytest.approx((1 - 0.25**2)**6, rel=1e-5)


def untried():
  validation = WindowValidation.__new__(WindowValidation)
  validation._error, validation._reference = tf.Variable(0.0), tf.Variable(0.0)
  return validation


@pytest.mark.parametrize('error', [math.nan, math.inf])
def test_an_error_that_is_not_finite_is_forgotten_too(error):
  steps = 500
  validation, change = untried(), tf.fill([1, steps], 0.1)  # squared spreads
  taken, once = tf.ones([1, steps], tf.bool), tf.one_hot([0], steps, error, 0.0)
  assert float(validation._skill(once, change, taken)) == 0
  for _ in range(4000 // steps):
    skill = float(validation._skill(0 * change, change, taken))
  assert skill > 0.8


def test_the_skill_forgets(monkeypatch):
  """A thousand steps later an old error counts exp(-1)."""
  monkeypatch.setattr(window_validation, '_MEMORY', H)
  validation = untried()
  ones = tf.ones([1, H])
  assert float(validation._skill(ones, ones, tf.ones([1, H], tf.bool))) == 0
  skill = float(validation._skill(0 * ones, ones, tf.ones([1, H], tf.bool)))
  assert skill == pytest.approx(1 - math.exp(-1) / (1 + math.exp(-1)), rel=1e-5)
