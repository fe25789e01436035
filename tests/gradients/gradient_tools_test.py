"""Jacobians, landscapes and the comparison of gradients, by independent routes (float64)."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.gradients.comparison import cosine_similarity, log_norm, relative_error
from asm_tf.gradients.jacobians import (
    action_jacobians,
    final_log_norms,
    log_jacobian_norms,
    log_norms,
)
from asm_tf.gradients.landscape import return_landscape
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.double_pendulum import DoublePendulum
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from asm_tf.systems.rollout import simulate
from tests.support.small_models import (
  MODELS,
  B,
  H,
  Linear,
  M,
  N,
  build,
  every_model,
  flat,
  inputs,
  spectral_norm,
)


@every_model
def test_action_jacobians_equal_one_backward_pass_an_output(make):
  model, _, generator = build(make)
  initial_state, actions, _ = inputs(generator, steps=3)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(actions)
    outputs = [tf.unstack(tf.reduce_sum(state, 0))
               for state in tf.unstack(model(initial_state, actions), axis=1)]
  expected = np.array([[tape.gradient(output, actions) for output in state]
                       for state in outputs])  # [T, n, B, T, m]
  jacobians = action_jacobians(model, initial_state, actions, steps_at_once=2).numpy()
  assert jacobians.shape == (B, 3, 3, N, M)
  np.testing.assert_allclose(jacobians, expected.transpose([2, 0, 3, 1, 4]), rtol=1e-10,
                             atol=1e-13)
  future = np.triu(np.ones([3, 3], bool), 1)
  assert np.all(jacobians[:, future] == 0)
  assert np.all(np.any(jacobians[:, ~future], (-2, -1)))


def test_action_jacobians_equal_finite_differences_and_compile():
  model, _, generator = build(MODELS['LSTM'])
  initial_state, actions, _ = inputs(generator)
  jacobians = tf.function(lambda: action_jacobians(model, initial_state, actions, 2))()
  step, direction = 1e-5, generator.normal(size=(H, M))
  ahead, behind = (model(initial_state, actions + sign * step * direction) for sign in (1, -1))
  np.testing.assert_allclose(
      np.einsum('btknm,km->btn', jacobians, direction), (ahead - behind) / (2 * step),
      rtol=1e-6, atol=1e-9)


def expanding(factor):
  """Random A, which makes its input about `factor` times larger, and B."""
  generator = np.random.default_rng(0)
  return factor * generator.normal(size=(3, 3)), generator.normal(size=(3, M))


def test_jacobians_of_a_linear_system_are_powers():
  by_state, by_action = expanding(1.5)
  jacobians = action_jacobians(
      Linear(by_state, by_action), tf.ones([B, 3], tf.float64), tf.ones([B, H, M], tf.float64))
  powers = [np.linalg.matrix_power(by_state, lag) @ by_action for lag in range(H)]
  for t in range(H):
    for k in range(t + 1):
      np.testing.assert_allclose(jacobians[1, t, k], powers[t - k], rtol=1e-11, atol=1e-12)
  np.testing.assert_allclose(
      tf.exp(log_norms(jacobians[0, :, 0])), spectral_norm(powers), rtol=1e-12)


def test_log_norms_survive_where_squares_overflow():
  matrices = np.random.default_rng(0).normal(size=(5, 3, 2))
  expected = np.log(spectral_norm(matrices))
  for scale in (1e300, 1e-300):
    np.testing.assert_allclose(
        log_norms(tf.constant(scale * matrices)), expected + np.log(scale), rtol=1e-12)
  assert log_norms(tf.zeros([3, 2])) == -np.inf


@pytest.mark.parametrize(('dtype', 'horizon'), [('float32', 10), ('float64', 60)])
def test_log_jacobian_norms_go_on_where_the_product_overflows(dtype, horizon):
  by_state, by_action = expanding(1e6)
  logs = log_jacobian_norms(
      Linear(by_state, by_action, dtype), tf.zeros([B, 3], dtype), tf.zeros([B, horizon, M], dtype))
  assert logs[0, -1] > np.log(np.finfo(dtype).max)
  expected, lost, product = [], 0.0, by_action
  for _ in range(horizon):
    size = spectral_norm(product)
    product, lost = product / size, lost + np.log(size)
    expected.append(lost)
    product = by_state @ product
  np.testing.assert_allclose(logs, [expected] * B, rtol=1e-4 if dtype == 'float32' else 1e-10)


@pytest.mark.parametrize('make', [
    MODELS['Markov'],
    lambda *_: TrueDynamics(DoublePendulum(H, dtype=tf.float64, substeps=1)),
], ids=['Markov', 'DoublePendulum'])
def test_log_jacobian_norms_equal_those_of_the_whole_sequence(make):
  state_size, action_size = (N, M) if make is MODELS['Markov'] else (4, 1)
  model, _, generator = build(make, 0, None, state_size, action_size)
  arguments = (model, tf.constant(generator.normal(size=(B, state_size))),
               tf.constant(generator.uniform(-1, 1, (B, H, action_size))))
  np.testing.assert_allclose(
      log_jacobian_norms(*arguments), log_norms(action_jacobians(*arguments))[:, :, 0],
      rtol=1e-10, atol=1e-12)


def test_log_jacobian_norms_refuse_a_carry_that_is_not_the_state():
  model, _, generator = build(MODELS['HistoryLSTM'])
  with pytest.raises(ValueError, match='carries more than its state'):
    log_jacobian_norms(model, *inputs(generator)[:2])


class _HiddenLinear(Linear):
  """Carries half of its state, of the state's shape."""

  def start(self, initial_state, horizon):
    return 0.5 * initial_state

  def step(self, carry, action, t):
    state, _ = super().step(2 * carry, action, t)
    return state, 0.5 * state


def test_a_carry_of_the_states_shape_is_not_taken_for_the_state():
  generator = np.random.default_rng(0)
  arguments = (_HiddenLinear(*expanding(1.5)), tf.constant(generator.normal(size=(B, 3))),
               tf.constant(generator.uniform(-1, 1, (B, H, M))))
  with pytest.raises(ValueError, match='carries more than its state'):
    log_jacobian_norms(*arguments)
  np.testing.assert_allclose(
      final_log_norms(*arguments), log_norms(action_jacobians(*arguments))[:, -1, 0], rtol=1e-10)


def test_the_bound_of_a_one_step_models_states_is_differentiated():
  model, _, generator = build(MODELS['Markov'])
  model._normalizer.margin = 0.1
  initial_state, actions, _ = inputs(generator)
  arguments = model, 5 * initial_state, actions  # out of what was observed
  np.testing.assert_allclose(
      final_log_norms(*arguments), log_norms(action_jacobians(*arguments))[:, -1, 0], rtol=1e-10)


@pytest.mark.parametrize(('make', 'step', 'component'), [
    (InvasivePlant, 1, 3), (CancerTreatment, 0, 0), (CancerTreatment, H - 1, 0)])
def test_landscape_of_the_true_dynamics_is_that_of_simulation(make, step, component):
  system = make(H, dtype=tf.float64)
  held = np.random.default_rng(0).uniform(-1, 1, (1, H, system.action_size))
  values = np.linspace(-1, 1, 4)
  expected = []
  for value in values:
    actions = held.copy()
    actions[0, step, component] = value
    expected.append(np.sum(simulate(system, tf.constant(actions))[1]))
  assert np.ptp(expected) > 1e-3
  np.testing.assert_allclose(
      return_landscape(TrueDynamics(system), system.reward, system.initial_state(1),
                       tf.constant(held), tf.constant(values), step, component),
      expected, rtol=1e-12)


def test_landscape_refuses_an_action_that_is_not_there():
  system = CancerTreatment(H, dtype=tf.float64)
  with pytest.raises(ValueError, match='no component 1'):
    return_landscape(TrueDynamics(system), system.reward, system.initial_state(1),
                     tf.zeros([1, H, 1], tf.float64), tf.zeros([3], tf.float64), 0, 1)


@pytest.mark.parametrize(('dtype', 'scale'), [
    ('float32', 1.0), ('float64', 1.0), ('float32', 1e30), ('float64', 1e300)])
def test_comparisons_of_gradients_of_any_size_equal_numpys(dtype, scale):
  generator = np.random.default_rng(0)
  first, second = ([generator.normal(size=shape) for shape in ((3, 2), (4,), ())]
                   for _ in range(2))
  a, b = flat(first), flat(second)
  first, second = ([tf.constant(scale * x, dtype) for x in parts] for parts in (first, second))
  tolerance = 1e-5 if dtype == 'float32' else 1e-12
  np.testing.assert_allclose(cosine_similarity(first, second),
                             a @ b / np.linalg.norm(a) / np.linalg.norm(b), rtol=tolerance)
  np.testing.assert_allclose(relative_error(first, second),
                             np.linalg.norm(a - b) / np.linalg.norm(b), rtol=tolerance)
  np.testing.assert_allclose(
      log_norm(first), np.log(np.linalg.norm(a)) + np.log(scale), rtol=tolerance)
  assert log_norm([tf.zeros([3], dtype)]) == -np.inf
