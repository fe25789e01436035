"""The claims of the paper's Section 3 and its Appendices A and B, each a test (float64)."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.experiments.theory.run import ConstantActor, equation_2, random_equation_2
from asm_tf.gradients.comparison import log_norm
from asm_tf.gradients.jacobians import (
  action_jacobians,
  log_norms,
  log_policy_gradient_bound,
  log_policy_gradient_norms,
  policy_gradient_bound,
)
from asm_tf.gradients.policy_gradient import (
  open_loop_policy_gradient,
  roll_out,
  sequential_policy_gradient,
)
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.policies.squashed_gaussian import squash
from asm_tf.systems.double_pendulum import DoublePendulum
from asm_tf.systems.myriad.bioreactor import Bioreactor
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.systems.myriad.hiv_treatment import HIVTreatment
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from tests.support.small_models import (
  F64,
  MODELS,
  B,
  H,
  Linear,
  LinearActor,
  M,
  N,
  build,
  every_model,
  flat,
  inputs,
  reward,
  spectral_norm,
)

# At longer steps than 1.7 the first drives the tumour to its bound, and no gradient passes.
SYSTEMS = [
    CancerTreatment(12, tf.float64), HIVTreatment(H, tf.float64), InvasivePlant(H, tf.float64),
    Bioreactor(H, tf.float64), DoublePendulum(4, tf.float64, substeps=1)]


class FeatureActor(tf.Module):
  """a = tanh(theta phi(s, t)) with fixed features |phi| <= 1: |d a / d theta| <= 1."""

  def __init__(self, generator, action_size, features=4):
    super().__init__()
    self.theta = tf.Variable(generator.normal(size=(features, action_size)))
    self._rates = tf.constant(generator.normal(size=features))

  def __call__(self, state, t):
    mean = tf.tensordot(self._features(state, t), self.theta, 1)
    return mean, tf.zeros_like(mean)

  def lipschitz(self, state, t):
    """|d a / d theta|, which is diag(1 - a^2) times phi, in each state."""
    slopes = 1 - tf.tanh(self(state, t)[0]) ** 2
    return tf.reduce_max(slopes, -1) * tf.norm(self._features(state, t), axis=-1)

  def _features(self, state, t):
    phase = (tf.reduce_sum(state, -1) + tf.cast(t, tf.float64))[..., None]
    return tf.sin(self._rates * phase) / np.sqrt(self._rates.shape[0])


def wave(direction, states, t):
  """sin(direction . s + t), whose Lipschitz constant in s is |direction|."""
  return tf.sin(tf.linalg.matvec(states, direction) + tf.cast(t, tf.float64))


# Proposition 1: the policy gradient through the M-RNN is that of Definition 1.


def jacobian(function, *arguments):
  """d function / d each argument, for vectors without a batch: a list of [out, in]."""
  arguments = [tf.convert_to_tensor(x) for x in arguments]
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(arguments)
    outputs = tf.unstack(tf.reshape(function(*arguments), [-1]))
  rows = [tape.gradient(output, arguments, unconnected_gradients='zero') for output in outputs]
  return [np.array([np.ravel(row[i]) for row in rows]) for i in range(len(arguments))]


def definition_1(system, actor, state, noise):
  """The paper's double sum, in numpy, for one trajectory; state [1, n], noise [H, m].

  The code's rewards are r(s_t, a_t, t): the action's own part comes second.
  """
  steps = []
  for t in range(system.horizon):
    eps, variables = noise[None, t], actor.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
      action = squash(*actor(state, t), eps)
      components = tf.unstack(action[0])
    dpi = np.array([flat(tape.gradient(a, variables)) for a in components])  # [m, |theta|]
    df_ds, df_da = jacobian(lambda s, a, t=t: system.step(s, a, t), state, action)
    dr_ds, dr_da = jacobian(lambda s, a, t=t: system.reward(s, a, t), state, action)
    steps.append((dpi, df_ds, df_da, dr_ds, dr_da))
    state = system.step(state, action, t)
  by_states, by_actions = 0, 0
  for t, (dpi, _, _, dr_ds, dr_da) in enumerate(steps):
    by_actions += dr_da @ dpi
    for k in range(t):
      dpi_k, _, df_da, _, _ = steps[k]
      product = df_da
      for i in range(k + 1, t):
        product = steps[i][1] @ product
      by_states += dr_ds @ product @ dpi_k
  return np.concatenate([by_states, by_actions])


@pytest.mark.parametrize('system', SYSTEMS, ids=lambda system: system.name)
def test_proposition_1_true_dynamics_give_definition_1(system):
  start = system.initial_state(B)
  start = start * np.random.default_rng(0).normal(1, 0.3, start.shape)
  model, actor, generator = build(
      lambda *_: TrueDynamics(system), 0, start, system.state_size, system.action_size)
  noise = tf.constant(generator.normal(size=(B, system.horizon, system.action_size)))
  imagined = open_loop_policy_gradient(model, system.reward, actor, start, noise)
  by_states, by_actions = np.mean(
      [definition_1(system, actor, start[b:b + 1], noise[b]) for b in range(B)], 0)
  expected = by_states + by_actions
  assert np.linalg.norm(by_states) > 1e-2 * np.linalg.norm(expected) > 1e-5
  np.testing.assert_allclose(
      flat(imagined.gradients), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


# Remark 1: teacher forcing an RNN whose cell is the one-step model is Equation 1.


def loss_and_gradient(model, predict, targets):
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean((predict() - targets) ** 2)
  return float(loss), flat(tape.gradient(loss, model.trainable_variables))


def test_remark_1_teacher_forcing_is_the_one_step_loss():
  model, _, generator = build(MODELS['Markov'])
  _, actions, _ = inputs(generator, batch=4)
  states = tf.constant(generator.normal(size=(4, H + 1, N)))

  def unrolled():  # the RNN: the cell is `step`, its output layer the identity
    return tf.stack([model.step(states[:, t], actions[:, t], t)[0] for t in range(H)], 1)

  order = generator.permutation(4 * H)
  before, after, taken = (tf.gather(tf.reshape(x, [4 * H, -1]), order)
                          for x in (states[:, :-1], states[:, 1:], actions))
  when = tf.constant(np.tile(np.arange(H), 4)[order])
  teacher_forced = loss_and_gradient(
      model, lambda: model.predict_teacher_forced(states, actions), states[:, 1:])
  recurrent = loss_and_gradient(model, unrolled, states[:, 1:])
  one_step = loss_and_gradient(model, lambda: model.step(before, taken, when)[0], after)
  free_running = loss_and_gradient(model, lambda: model(states[:, 0], actions), states[:, 1:])
  for loss, gradient in (recurrent, one_step):
    np.testing.assert_allclose(loss, teacher_forced[0], rtol=1e-12)
    np.testing.assert_allclose(gradient, teacher_forced[1], rtol=1e-10, atol=1e-13)
  assert abs(free_running[0] - one_step[0]) > 1e-2  # the control


# Theorem 1: the Jacobians bound the policy gradient, whatever the architecture.


@every_model
def test_theorem_1_bounds_the_policy_gradient(make):
  model, _, generator = build(make)
  actor = FeatureActor(generator, M)
  initial_state, direction = (tf.Variable(tf.zeros(shape, tf.float64)) for shape in ([1, N], [N]))
  noise = tf.zeros([1, H, M], tf.float64)  # a deterministic policy

  @tf.function
  def norm_and_bound():
    gradients = open_loop_policy_gradient(
        model, lambda s, a, t: wave(direction, s, t), actor, initial_state, noise).gradients
    states = roll_out(model, actor, initial_state, noise)
    jacobians = action_jacobians(
        model, initial_state, squash(*actor(states, tf.range(H)), noise))
    policy_lipschitz = tf.reduce_max(actor.lipschitz(states, tf.range(H)))
    return tf.exp(log_norm(gradients)), policy_gradient_bound(
        jacobians, tf.norm(direction), policy_lipschitz)[0]

  ratios = []
  for _ in range(100):
    scale = 10 ** generator.uniform(-1, 0.7)
    for variable in (*model.trainable_variables, *actor.trainable_variables, initial_state,
                     direction):
      variable.assign(scale * generator.normal(size=variable.shape))
    norm, bound = norm_and_bound()
    assert np.isfinite(bound)
    assert norm <= bound * (1 + 1e-9)
    ratios.append(norm / bound)
  assert np.nanmax(ratios) > 0.1  # not for being loose


def test_the_policys_lipschitz_constant_is_the_norm_of_its_jacobian():
  actor, state = FeatureActor(np.random.default_rng(0), M), tf.ones([1, N], tf.float64)
  with tf.GradientTape(persistent=True) as tape:
    components = tf.unstack(tf.tanh(actor(state, 3)[0])[0])
  by_theta = [np.ravel(tape.gradient(component, actor.theta)) for component in components]
  np.testing.assert_allclose(actor.lipschitz(state, 3)[0], spectral_norm(np.array(by_theta)))
  assert spectral_norm(np.array(by_theta)) <= 1


def test_bounds_are_the_papers_double_sum():
  jacobians = np.random.default_rng(0).normal(size=(B, H, H, N, M))
  jacobians *= np.tril(np.ones([H, H]))[:, :, None, None]
  # 1-based s_t is row t-2 and 1-based a_k column k-1 of the code.
  expected = [2.0 * 3.0 * sum(spectral_norm(jacobians[b, t - 2, k - 1])
                              for t in range(1, H + 1) for k in range(1, t)) for b in range(B)]
  np.testing.assert_allclose(policy_gradient_bound(tf.constant(jacobians), 2, 3), expected)
  huge = log_policy_gradient_bound(log_norms(tf.constant(jacobians)) + 1e4, 2, 3)
  np.testing.assert_allclose(huge, np.log(expected) + 1e4)


# Corollary 1.1: through the RNN of Equation 2 the policy gradient can grow exponentially.


def rnn_log_norms(model, action_size, direction, horizons):
  """log |grad J| of r = direction . s under zero actions, where tanh has its slope 1."""
  return log_policy_gradient_norms(
      model, lambda s, a, t: tf.linalg.matvec(s, direction), ConstantActor(action_size),
      tf.zeros([1, len(direction)], tf.float64),
      tf.zeros([1, max(horizons), action_size], tf.float64), horizons).numpy()


def positive_rnn(seed, radius):
  return equation_2(*random_equation_2(np.random.default_rng(seed), radius, N, M))


@pytest.mark.parametrize(('seed', 'radius'), [(0, 1.1), (1, 1.5)])
def test_corollary_1_1_grows_exponentially_beyond_a_spectral_radius_of_1(seed, radius):
  horizons = [25, 50, 75, 100]
  logs = rnn_log_norms(positive_rnn(seed, radius), M, np.ones(N), horizons)
  slope, _ = np.polyfit(horizons, logs, 1)
  assert np.corrcoef(horizons, logs)[0, 1] ** 2 > 0.99
  np.testing.assert_allclose(slope, np.log(radius), rtol=0.15)  # a power of H besides
  np.testing.assert_allclose((logs[-1] - logs[-2]) / 25, np.log(radius), rtol=0.05)


def test_corollary_1_1_below_a_spectral_radius_of_1_nothing_explodes():
  logs = rnn_log_norms(positive_rnn(0, 0.8), M, np.ones(N), [50, 100])
  np.testing.assert_allclose(logs[1] - logs[0], np.log(2), rtol=0.2)  # linear in H


@pytest.mark.parametrize('horizon', [2, 7, 40])
def test_appendix_a_1_the_bound_is_attained_in_one_positive_dimension(horizon):
  eta, by_action, read_out, reward_lipschitz = 1.3, 0.7, 0.5, 2.0
  model = equation_2(*(np.array([[x]]) for x in (eta, by_action, read_out)))
  equation_4 = reward_lipschitz * sum(
      read_out * by_action * eta ** (t - k - 1)
      for t in range(1, horizon + 1) for k in range(1, t))
  norm = np.exp(rnn_log_norms(model, 1, np.array([reward_lipschitz]), [horizon])[0])
  theorem_1 = policy_gradient_bound(action_jacobians(
      model, tf.zeros([1, 1], tf.float64), tf.zeros([1, horizon, 1], tf.float64)),
      reward_lipschitz, 1.0)[0]
  np.testing.assert_allclose(norm, equation_4, rtol=1e-12)
  np.testing.assert_allclose(theorem_1, equation_4, rtol=1e-12)
  # The largest term has t = H and k = 1: the paper's eta^{H-1} is one power too many.
  assert norm >= reward_lipschitz * read_out * by_action * eta ** (horizon - 2)


def test_corollary_1_1_equation_4_bounds_every_rnn():
  for seed in range(20):
    generator = np.random.default_rng(seed)
    recurrent, by_action, read_out = weights = [
        generator.normal(size=shape) for shape in ((4, 4), (4, M), (N, 4))]
    jacobians = action_jacobians(
        equation_2(*weights), tf.zeros([1, N], tf.float64), inputs(generator, 1)[1])
    eta = spectral_norm(recurrent)
    equation_4 = sum(spectral_norm(read_out) * spectral_norm(by_action) * eta ** (t - k - 1)
                     for t in range(1, H + 1) for k in range(1, t))
    assert policy_gradient_bound(jacobians, 1, 1)[0] <= equation_4


# Corollary 1.2: through self-attention the policy gradient grows polynomially.


def test_corollary_1_2_self_attention_grows_no_faster_than_the_cube_of_the_horizon():
  """It even grows no faster than H: the softmax weights of one prediction sum to 1.

  With M = W_q^T W_k and |a| <= alpha, the Jacobian with respect to a_k is c_k W_v +
  c_k (v_k - s_t) a_{t-1}^T M and, for k = t-1, sum_i c_i (v_i - s_t) a_i^T M^T more, so
  that sum_k |d s_t / d a_k| <= |W_v| (1 + 4 alpha^2 |M|). The paper's proof leaves M out.
  """
  horizons, direction = np.array([10, 30, 100, 500]), np.array([0.6, -0.8])
  model = SelfAttention(Normalizer(N, H, enabled=False, dtype=tf.float64), N, M, 3, **F64)
  actor = FeatureActor(np.random.default_rng(0), M)

  def measure(horizon):
    return tf.function(lambda: log_norm(open_loop_policy_gradient(
        model, lambda s, a, t: wave(direction, s, t), actor, tf.zeros([1, N], tf.float64),
        tf.zeros([1, horizon, M], tf.float64)).gradients))

  measures = [measure(horizon) for horizon in horizons]
  for seed, scale in ((0, 0.3), (1, 1.0), (2, 3.0), (3, 10.0)):
    generator = np.random.default_rng(seed)
    actor.theta.assign(generator.normal(size=actor.theta.shape))
    weights = {}
    for variable in model.trainable_variables:
      kernel = scale * generator.normal(size=variable.shape)
      kernel[:N] = kernel[N + M:] = 0  # tokens of actions alone, as in Equation 3
      variable.assign(kernel)
      weights[variable.name.split('/')[-2]] = kernel[N:N + M]
    logs = np.array([float(measure()) for measure in measures])
    exponent, _ = np.polyfit(np.log(horizons), logs, 1)
    assert exponent <= 3
    assert np.all(logs - 3 * np.log(horizons) <= logs[0] - 3 * np.log(horizons[0]) + 1e-9)
    scores = spectral_norm(weights['query'] @ weights['key'].T)
    # L_r = 1, L_pi <= 1, alpha^2 <= m
    constant = spectral_norm(weights['value']) * (1 + 4 * M * scores)
    assert np.all(logs <= np.log(constant * (horizons - 1)))
  rnn = rnn_log_norms(positive_rnn(0, 1.1), M, np.ones(N), [50, 100])
  assert rnn[1] - rnn[0] > 3 * np.log(2)  # the contrast: faster than H^3


# Appendix B: from the open to the closed loop.


def closed_loop_return(model, actor, initial_state, noise):
  """E[J] by a loop in which the policy sees what its actions led to."""
  state, carry, total = initial_state, model.start(initial_state, noise.shape[1]), 0
  for t in range(noise.shape[1]):
    mean, log_std = actor(state, t)
    action = tf.tanh(mean + tf.exp(log_std) * noise[:, t])
    total += tf.reduce_mean(reward(state, action, t))
    state, carry = model.step(carry, action, t)
  return total


@pytest.mark.parametrize('make', [
    MODELS['LSTM'], MODELS['Markov'],
    lambda *_: Linear(np.array([[0.9, 0.4], [-0.3, 1.1]]), np.array([[1.0, 0.2], [0.5, -1.0]])),
], ids=['LSTM', 'Markov', 'Linear'])
def test_appendix_b_weight_1_is_the_total_derivative_of_the_closed_loop(make):
  model, actor, generator = build(make)
  initial_state, _, noise = inputs(generator)
  arguments = model, reward, actor, initial_state, noise
  closed = sequential_policy_gradient(*arguments, closed_loop_weight=1.0)
  objective = tf.function(lambda: closed_loop_return(model, actor, initial_state, noise))
  np.testing.assert_allclose(tf.reduce_mean(closed.returns), objective(), rtol=1e-12)
  step = 1e-5
  for variable, gradient in zip(actor.trainable_variables, closed.gradients, strict=True):
    direction = generator.normal(size=variable.shape)
    variable.assign_add(step * direction)
    ahead = objective()
    variable.assign_add(-2 * step * direction)
    behind = objective()
    variable.assign_add(step * direction)
    np.testing.assert_allclose(np.sum(gradient * direction), (ahead - behind) / (2 * step),
                               rtol=1e-6, atol=1e-8, err_msg=variable.name)
  opened = flat(open_loop_policy_gradient(*arguments).gradients)
  np.testing.assert_allclose(
      flat(sequential_policy_gradient(*arguments, closed_loop_weight=0.0).gradients), opened,
      rtol=1e-9, atol=1e-11)
  assert np.linalg.norm(flat(closed.gradients) - opened) > 1e-2  # the loop matters


def test_appendix_b_a_policy_that_ignores_the_state_has_one_gradient():
  model, actor, generator = build(MODELS['LSTM'])
  initial_state, _, noise = inputs(generator)
  kernel = actor.trainable_variables[0]  # of the first layer: states, then time
  kernel.assign(tf.concat([tf.zeros_like(kernel[:N]), kernel[N:]], 0))
  closed, opened = (sequential_policy_gradient(
      model, reward, actor, initial_state, noise, closed_loop_weight=weight).gradients
      for weight in (1.0, 0.0))
  for variable, by_closed, by_open in zip(actor.trainable_variables, closed, opened, strict=True):
    assert np.linalg.norm(by_open) > 1e-4, variable.name  # even of the weights that are 0
    np.testing.assert_allclose(by_closed, by_open, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize('weight', [0.0, 0.3, 1.0])
def test_appendix_b_the_weight_scales_each_step_through_the_policy(weight):
  """s_{t+1} = a_t = tanh(theta s_t), J = s_2 + a_2: each d a / d s is scaled by the dial."""
  theta, s_0 = 0.5, 0.7
  s_1 = np.tanh(theta * s_0)
  s_2 = np.tanh(theta * s_1)
  a_2 = np.tanh(theta * s_2)
  ds_1 = (1 - s_1**2) * s_0
  ds_2 = (1 - s_2**2) * (s_1 + weight * theta * ds_1)  # linear in the weight
  da_2 = (1 - a_2**2) * (s_2 + weight * theta * ds_2)  # quadratic
  last = tf.constant([0.0, 0.0, 1.0], tf.float64)
  imagined = sequential_policy_gradient(
      Linear([[0.0]], [[1.0]]), lambda s, a, t: last * (s + a)[..., 0], LinearActor(theta),
      tf.constant([[s_0]], tf.float64), tf.zeros([1, 3, 1], tf.float64), closed_loop_weight=weight)
  np.testing.assert_allclose(imagined.gradients[0], ds_2 + da_2, rtol=1e-12)
