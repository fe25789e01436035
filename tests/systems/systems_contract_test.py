"""What every system promises, whatever it models."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.errors import UserError
from asm_tf.systems.registry import MYRIAD, SYSTEMS
from asm_tf.systems.rollout import return_and_gradient, simulate
from asm_tf.systems.system import System
from asm_tf.systems.toy_credit_assignment import ToyCreditAssignment

H, B = 6, 3
LIGHT = {'DoublePendulum': {'substeps': 1}}  # eager Runge-Kutta steps are slow
every_system = pytest.mark.parametrize('system_class', SYSTEMS.values(), ids=list(SYSTEMS))


def build(system_class, **arguments):
  return system_class(H, **arguments, **LIGHT.get(system_class.__name__, {}))


def random_actions(system, seed=0, low=-0.95, high=0.95):
  shape = (B, system.horizon, system.action_size)
  return tf.constant(np.random.default_rng(seed).uniform(low, high, shape), system.dtype)


@every_system
@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_shapes_and_dtypes(system_class, dtype):
  system = build(system_class, dtype=dtype)
  states, rewards, gradient = return_and_gradient(system, random_actions(system))
  assert states.shape == (B, H + 1, system.state_size)
  assert rewards.shape == (B, H)
  assert gradient.shape == (B, H, system.action_size)
  assert {states.dtype, rewards.dtype, gradient.dtype} == {dtype}
  assert np.isfinite(states).all()
  assert np.isfinite(gradient).all()
  np.testing.assert_allclose(states[:, 0], np.tile(system.start, (B, 1)), rtol=1e-6)


@every_system
def test_a_whole_sequence_at_once_equals_step_by_step(system_class):
  system = build(system_class, dtype=tf.float64)
  actions = random_actions(system)
  states, rewards = simulate(system, actions)
  times = tf.range(H)
  np.testing.assert_allclose(system.step(states[:, :-1], actions, times), states[:, 1:],
                             rtol=1e-12, atol=1e-12)
  for t in range(H):
    np.testing.assert_allclose(system.reward(states[:, t], actions[:, t], t), rewards[:, t],
                               rtol=1e-12)


@every_system
def test_bounds_hold_at_the_extremes(system_class):
  system = build(system_class, dtype=tf.float64)
  for action in (-1.0, 1.0):
    sequence = tf.fill([B, H, system.action_size], tf.constant(action, tf.float64))
    states, _ = simulate(system, sequence)
    assert np.all(states >= system.state_low)
    assert np.all(states <= system.state_high)
  low, high = np.transpose(system.control_bounds)
  edges = tf.constant([[-1.0] * system.action_size, [1.0] * system.action_size], tf.float64)
  np.testing.assert_allclose(system.control(edges), [low, high], atol=1e-12)


@every_system
def test_gradient_equals_finite_differences(system_class):
  system = build(system_class, dtype=tf.float64)
  actions = random_actions(system, seed=4, high=-0.6)  # where no state sits on a bound
  direction = random_actions(system, seed=5)
  _, _, gradient = return_and_gradient(system, actions)
  step = 1e-6
  ahead, behind = (tf.reduce_sum(simulate(system, actions + sign * step * direction)[1], 1)
                   for sign in (1, -1))
  np.testing.assert_allclose(tf.reduce_sum(gradient * direction, [1, 2]),
                             (ahead - behind) / (2 * step), rtol=2e-5, atol=1e-7)


@every_system
def test_distractors_and_noise_reach_nothing_else(system_class):
  plain = build(system_class, dtype=tf.float64)
  noisy = build(system_class, dtype=tf.float64, distractors=2)
  n = plain.state_size
  assert noisy.state_size == n + 2
  assert noisy.is_stochastic
  assert not plain.is_stochastic
  actions = random_actions(plain)
  noise = tf.constant(np.random.default_rng(1).normal(size=(B, H, n + 2)))
  states, rewards, gradient = return_and_gradient(plain, actions)
  noisy_states, noisy_rewards = simulate(noisy, actions, noise)
  np.testing.assert_array_equal(noisy_states[..., :n], states)
  np.testing.assert_array_equal(noisy_states[:, 1:, n:], noise[..., n:])
  np.testing.assert_array_equal(noisy_rewards, rewards)
  np.testing.assert_array_equal(return_and_gradient(noisy, actions)[2], gradient)


@pytest.mark.parametrize('system_class', MYRIAD, ids=lambda c: c.__name__)
def test_process_noise_moves_the_next_state_by_its_scale(system_class):
  scale, horizon = 1e-3, 200  # a step so short that no state meets a bound
  plain = system_class(horizon, dtype=tf.float64)
  noisy = system_class(horizon, dtype=tf.float64, process_noise=scale)
  state, action = plain.initial_state(B), random_actions(plain, high=-0.6)[:, 0]
  noise = tf.constant(np.random.default_rng(1).uniform(-1, 0, (B, plain.state_size)))
  moved = noisy.step(state, action, 0, noise) - plain.step(state, action, 0)
  np.testing.assert_allclose(moved, scale * noise, rtol=1e-6, atol=1e-12)
  np.testing.assert_array_equal(noisy.step(state, action, 0), plain.step(state, action, 0))


@every_system
@pytest.mark.parametrize('arguments', [
    {'horizon': 1}, {'horizon': 2.0}, {'horizon': True}, {'horizon': H, 'process_noise': -1.0},
    {'horizon': H, 'distractors': -1}])
def test_bad_arguments_are_the_users_error(system_class, arguments):
  with pytest.raises(UserError, match='give a'):
    system_class(**arguments)


def test_simulate_refuses_actions_that_do_not_fit():
  system = SYSTEMS['InvasivePlant'](H)
  with pytest.raises(ValueError, match='expected'):
    simulate(system, tf.zeros([B, H, 1]))


@pytest.mark.parametrize(('attribute', 'value', 'message'), [
    ('state_bounds', ((0.0, 1.0),) * 2, 'start has 1 numbers and state_bounds 2 pairs'),
    ('control_bounds', ((1.0, -1.0),), 'the lower number first'),
    ('control_bounds', (-1.0, 1.0), r'give a pair \(low, high\)'),
    ('state_bounds', (-1.0, 1.0), r'give a pair \(low, high\)'),
    ('state_bounds', (), r'give a pair \(low, high\)'),
    ('control_bounds', None, r'give a pair \(low, high\)'),
    ('control_bounds', np.array([[1.0, -1.0]]), 'the lower number first'),
    ('control_bounds', ((-np.inf, np.inf),), 'finite numbers'),
    ('start', 0.5, 'give a list of numbers'),
    ('start', (9.0,), 'outside its state_bounds')])
def test_attributes_that_do_not_fit_are_one_line(attribute, value, message):
  class Broken(System):
    start = (0.5,)
    state_bounds = ((0.0, 1.0),)
    control_bounds = ((-1.0, 1.0),)
    dt = 1.0

  assert Broken(4).state_size == 1
  setattr(Broken, attribute, value)
  with pytest.raises(UserError, match=f'Broken.*{message}'):
    Broken(4)


def test_the_distractor_of_toy_credit_assignment_has_its_own_spread_beside_the_noise():
  system = ToyCreditAssignment(H, tf.float64, process_noise=0.3, distractor_std=0.4)
  noise = tf.constant(np.random.default_rng(0).normal(size=(20_000, 2)))
  states = system.step(tf.zeros_like(noise), tf.zeros_like(noise[:, :1]), 1, noise)
  np.testing.assert_allclose(np.std(states, 0), [0.3, 0.5], rtol=0.02)
