"""The systems do what the paper's own implementation did (tests/data/golden)."""

import json

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.systems.double_pendulum import DoublePendulum
from asm_tf.systems.one_bounce import OneBounce
from asm_tf.systems.registry import MYRIAD
from asm_tf.systems.rollout import return_and_gradient, simulate
from asm_tf.systems.toy_credit_assignment import ToyCreditAssignment
from tests.support.paths import REPOSITORY

GOLDEN = REPOSITORY / 'tests' / 'data' / 'golden'


def load(name):
  return json.loads((GOLDEN / f'{name}.json').read_text())


def roll_out(system, case):
  actions = tf.constant([case['actions']], system.dtype)
  return [x[0].numpy() for x in return_and_gradient(system, actions)]


def recorded_states(case):
  return np.array(case['observations'])[:, :-1]  # the last column is the time


def assert_close(actual, expected, relative):
  """Relative to the size of the whole column, so that zero crossings do not count."""
  expected = np.asarray(expected)
  scale = np.abs(expected).max(0) + 1e-12
  np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=relative)


@pytest.mark.parametrize(('dtype', 'relative'), [(tf.float64, 1e-9), (tf.float32, 1e-4)])
@pytest.mark.parametrize('system_class', MYRIAD, ids=lambda c: c.__name__)
def test_myriad(system_class, dtype, relative):
  golden = load(system_class.__name__)
  for case in golden['cases'] + golden['extra_cases']:
    if case['length'] > 50:
      continue
    system = system_class(case['length'], dtype=dtype)
    states, rewards, gradient = roll_out(system, case)
    assert_close(states, recorded_states(case), relative)
    assert_close(rewards, case['rewards'], relative)
    np.testing.assert_allclose(rewards.sum(), case['return'], rtol=relative)
    if dtype == tf.float64:  # float32 loses HIV's clipped gradients, not the states
      assert_close(gradient, case['grad_return_wrt_actions'], relative)


def test_toy_credit_assignment():
  for case in load('ToyCA')['cases']:
    states, rewards, _ = roll_out(ToyCreditAssignment(case['length'], dtype=tf.float64), case)
    assert_close(states, recorded_states(case), 1e-9)
    assert_close(rewards, case['rewards'], 1e-9)


def test_one_bounce():
  golden = load('OneBounce')
  for case in golden['cases']:
    states, rewards, _ = roll_out(OneBounce(case['length'], dtype=tf.float64), case)
    assert_close(states, recorded_states(case), 1e-9)
    assert_close(rewards, case['rewards'], 1e-9)


def test_one_bounce_over_the_first_action():
  grid = load('OneBounce')['initial_action_grid']
  actions = np.zeros((len(grid), 50, 1))
  actions[:, 0, 0] = [row['initial_action'] for row in grid]
  states, rewards = simulate(OneBounce(50, dtype=tf.float64), tf.constant(actions))
  assert_close(rewards.numpy().sum(1), [row['return'] for row in grid], 1e-9)
  assert_close(states[:, -1].numpy(), [row['final_observation'][:-1] for row in grid], 1e-9)


# One step from a recorded state; the whole trajectory, where chaos multiplies the
# recording's own tolerance of 1.4e-8.
@pytest.mark.parametrize(('length', 'one_step', 'whole'), [(5, 1e-6, 3e-6), (50, 1e-5, 2e-3)])
def test_double_pendulum(length, one_step, whole):
  variant = load('DoublePendulum')['variants']['goal_from_scaled_action']
  case, = [case for case in variant['cases'] if case['length'] == length]
  system = DoublePendulum(length, dtype=tf.float64, angle_scale=180.0)
  step = tf.function(system.step, input_signature=[  # one graph for one step and for many
      tf.TensorSpec([None, 4], tf.float64), tf.TensorSpec([None, 1], tf.float64),
      tf.TensorSpec([None], tf.int32)])
  expected = recorded_states(case)
  actions = tf.constant(case['actions'], tf.float64)
  next_states = step(tf.constant(expected[:-1]), actions, tf.range(length)).numpy()
  np.testing.assert_allclose(next_states, expected[1:], rtol=one_step, atol=one_step)
  states = [system.initial_state(1)]
  for t in range(length):
    states.append(step(states[-1], actions[t:t + 1], tf.constant([t])))
  np.testing.assert_allclose(tf.concat(states, 0), expected, rtol=whole, atol=whole)
  reward = system.reward(states[-2][0], actions[-1], length - 1)
  np.testing.assert_allclose(reward, case['return'], rtol=whole)
