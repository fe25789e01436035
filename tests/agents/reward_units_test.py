"""What a critic sees of rewards."""

import types

import numpy as np
import tensorflow as tf

from asm_tf.agents.execution import Execution
from asm_tf.agents.reward_units import RewardUnits

REWARDS = np.array([[50.0, 52.0, 54.0], [50.0, 51.0, 52.0]], np.float32)


def units(has_fixed_length=True, time_aware=True, **settings):
  setup = types.SimpleNamespace(execution=Execution(), system=types.SimpleNamespace(
      has_fixed_length=has_fixed_length, time_aware=time_aware, horizon=REWARDS.shape[1]))
  units = RewardUnits(setup, **settings)
  rewards = np.concatenate([REWARDS, np.zeros([2, 1], np.float32)], 1)  # of the boundary: none
  is_boundary = tf.constant([[False, False, False, True]] * 2)
  units.observe(types.SimpleNamespace(
      reward=tf.constant(rewards), is_boundary=lambda: is_boundary))
  return units


def test_rewards_are_centred_on_their_mean_in_units_of_the_returns_spread():
  np.testing.assert_allclose(
      units().normalize(REWARDS), (REWARDS - REWARDS.mean()) / REWARDS.sum(1).std(), rtol=1e-5)


def test_where_episodes_may_end_early_no_constant_is_subtracted():
  np.testing.assert_allclose(
      units(has_fixed_length=False).normalize(REWARDS), REWARDS / REWARDS.sum(1).std(), rtol=1e-5)


def test_where_the_horizon_only_cuts_episodes_short_the_unit_is_the_size_of_a_reward():
  np.testing.assert_allclose(units(time_aware=False).normalize(REWARDS),
                             REWARDS / np.sqrt(np.mean(REWARDS**2)), rtol=1e-5)


def test_off_they_are_left_as_they_are():
  assert units(enabled=False).normalize(REWARDS) is REWARDS
