"""The open-loop policy gradient by independent routes (float64)."""

import numpy as np
import pytest

from asm_tf.gradients.policy_gradient import (
    open_loop_policy_gradient, roll_out, sequential_policy_gradient)
from asm_tf.models.lstm import LSTM
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor, squash, squashed_entropy
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.systems.myriad.hiv_treatment import HIVTreatment

import tensorflow as tf  # after asm_tf, which chooses Keras 2
import tensorflow_probability as tfp

B, H, N, M = 3, 6, 2, 2


class TrueDynamics(SequenceModel):
  """A system as a world model: the paper's M-RNN."""

  def __init__(self, system):
    super().__init__(dtype='float64')
    self._system = system

  def call(self, initial_state, actions):
    states = [initial_state]
    for t in range(actions.shape[1]):
      states.append(self._system.step(states[-1], actions[:, t], t))
    return tf.stack(states[1:], 1)

  def start(self, initial_state, horizon):
    return initial_state

  def step(self, carry, action, t):
    state = self._system.step(carry, action, t)
    return state, state


class Copy(SequenceModel):
  """The next state is the action."""

  def call(self, initial_state, actions):
    return actions

  def start(self, initial_state, horizon):
    return ()

  def step(self, carry, action, t):
    return action, carry


class LinearActor(tf.Module):
  """mu = theta s, sigma = 1."""

  def __init__(self, theta):
    super().__init__()
    self.theta = tf.Variable(theta, dtype=tf.float64)

  def __call__(self, state, t):
    return self.theta * state, tf.zeros_like(state)


def randomise(module, generator, scale=0.3):
  for variable in module.trainable_variables:
    variable.assign_add(scale * generator.normal(size=variable.shape))


def build(seed, state_size=N, action_size=M, horizon=H, states=None):
  """A normaliser that has seen states, an actor with random weights, and noise."""
  tf.keras.utils.set_random_seed(seed)
  generator = np.random.default_rng(seed)
  normalizer = Normalizer(state_size, horizon, dtype=tf.float64)
  if states is None:
    states = generator.normal(1, 2, (20, state_size))
  normalizer.update(tf.constant(states))
  actor = SquashedGaussianActor(
      normalizer, state_size, action_size, hidden_sizes=(5,), dtype='float64')
  randomise(actor, generator)
  noise = tf.constant(generator.normal(size=(B, horizon, action_size)))
  return normalizer, actor, noise, generator


def build_lstm(seed):
  normalizer, actor, noise, generator = build(seed)
  model = LSTM(normalizer, N, M, embedding_size=4, hidden_sizes=(4, 3), dtype='float64')
  randomise(model, generator)
  return model, actor, tf.constant(generator.normal(size=(B, N))), noise


def reward(states, actions, t):
  """Depends on every state, action and step; any leading shape."""
  time = tf.cast(t, tf.float64)
  return (tf.sin(tf.reduce_sum(states, -1) + time)
          - 0.1 * (1 + time) * tf.reduce_sum(actions**2, -1))


def flat(tensors):
  return np.concatenate([np.ravel(x) for x in tensors])


@pytest.mark.parametrize('seed', range(4))
def test_two_passes_equal_the_sequential_route(seed):
  model, actor, initial_state, noise = build_lstm(seed)
  arguments = model, reward, actor, initial_state, noise, 2.0, 0.3
  imagined = open_loop_policy_gradient(*arguments)
  expected = sequential_policy_gradient(*arguments)
  assert np.linalg.norm(flat(expected.gradients)) > 1e-3
  np.testing.assert_allclose(
      flat(imagined.gradients), flat(expected.gradients), rtol=1e-9, atol=1e-11)
  np.testing.assert_allclose(imagined.returns, expected.returns, rtol=1e-12)
  np.testing.assert_allclose(imagined.entropy, expected.entropy, rtol=1e-12)


def test_xla_equals_eager():
  model, actor, initial_state, noise = build_lstm(0)

  def gradient():
    return open_loop_policy_gradient(model, reward, actor, initial_state, noise, 2.0, 0.1)

  compiled, eager = tf.function(gradient, jit_compile=True)(), gradient()
  np.testing.assert_allclose(compiled.returns, eager.returns, rtol=1e-10)
  np.testing.assert_allclose(flat(compiled.gradients), flat(eager.gradients), rtol=1e-9,
                             atol=1e-12)


@pytest.mark.parametrize('scale, constant', [(1.0, 0.0), (7.0, 0.0), (2.0, 0.5)])
def test_equals_finite_differences_with_the_policys_inputs_held_fixed(scale, constant):
  model, actor, initial_state, noise = build_lstm(5)
  held = roll_out(model, actor, initial_state, noise)

  @tf.function
  def objective_and_entropy():
    mean, log_std = actor(held, tf.range(H))
    actions = squash(mean, log_std, noise)
    visited = tf.concat([initial_state[:, None], model(initial_state, actions)[:, :-1]], 1)
    returns = tf.reduce_sum(reward(visited, actions, tf.range(H)), 1)
    entropy = tf.reduce_sum(squashed_entropy(mean, log_std, noise), 1)
    return (tf.reduce_mean(returns) / scale + constant * tf.reduce_mean(entropy),
            returns, tf.reduce_mean(entropy) / H)

  imagined = open_loop_policy_gradient(
      model, reward, actor, initial_state, noise, scale, constant)
  _, returns, entropy = objective_and_entropy()
  np.testing.assert_allclose(imagined.returns, returns, rtol=1e-12)
  np.testing.assert_allclose(imagined.entropy, entropy, rtol=1e-12)
  step = 1e-5
  for variable, gradient in zip(actor.trainable_variables, imagined.gradients):
    direction = np.random.default_rng(0).normal(size=variable.shape)
    variable.assign_add(step * direction)
    ahead = objective_and_entropy()[0]
    variable.assign_add(-2 * step * direction)
    behind = objective_and_entropy()[0]
    variable.assign_add(step * direction)
    np.testing.assert_allclose(np.sum(gradient * direction), (ahead - behind) / (2 * step),
                               rtol=1e-6, atol=1e-8, err_msg=variable.name)


def jacobian(function, *arguments):
  """d function / d each argument, for vectors without a batch: a list of [out, in]."""
  arguments = [tf.convert_to_tensor(x) for x in arguments]
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(arguments)
    outputs = tf.unstack(tf.reshape(function(*arguments), [-1]))
  rows = [tape.gradient(output, arguments, unconnected_gradients='zero') for output in outputs]
  return [np.array([np.ravel(row[i]) for row in rows]) for i in range(len(arguments))]


def definition_1(system, actor, noise):
  """The paper's double sum, in numpy, for one trajectory; noise [H, m].

  The code's rewards are r(s_t, a_t, t): each term gains the action's own part.
  """
  state, steps = system.initial_state(1), []
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
  gradient = 0
  for t, (dpi, _, _, dr_ds, dr_da) in enumerate(steps):
    gradient += dr_da @ dpi
    for k in range(t):
      dpi_k, _, df_da, _, _ = steps[k]
      product = df_da
      for i in range(k + 1, t):
        product = steps[i][1] @ product
      gradient += dr_ds @ product @ dpi_k
  return gradient[0]


@pytest.mark.parametrize('system_class', [CancerTreatment, HIVTreatment],
                         ids=lambda c: c.__name__)
def test_proposition_1_true_dynamics_give_definition_1(system_class):
  system = system_class(H, dtype=tf.float64)
  start = system.initial_state(B)
  states = start * np.random.default_rng(0).normal(1, 0.3, start.shape)
  _, actor, noise, _ = build(0, system.state_size, system.action_size, states=states)
  imagined = open_loop_policy_gradient(
      TrueDynamics(system), system.reward, actor, start, noise)
  expected = np.mean([definition_1(system, actor, noise[b]) for b in range(B)], 0)
  assert np.linalg.norm(expected) > 1e-3
  np.testing.assert_allclose(
      flat(imagined.gradients), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def last_action(states, actions, t):
  return tf.where(tf.equal(t, 1), actions[..., 0], tf.zeros_like(actions[..., 0]))


def test_no_gradient_flows_through_the_policys_inputs():
  """a_1 = tanh(theta s_1), s_1 = tanh(theta s_0): dJ/dtheta = (1 - a_1^2) s_1, no more."""
  theta, initial_state = 0.5, tf.constant([[0.7]], tf.float64)
  actor, model, noise = LinearActor(theta), Copy(), tf.zeros([1, 2, 1], tf.float64)
  s_1 = np.tanh(theta * 0.7)
  a_1 = np.tanh(theta * s_1)
  open_loop = (1 - a_1**2) * s_1
  closed_loop = open_loop + (1 - a_1**2) * theta * (1 - s_1**2) * 0.7
  arguments = model, last_action, actor, initial_state, noise
  np.testing.assert_allclose(open_loop_policy_gradient(*arguments).gradients[0], open_loop)
  np.testing.assert_allclose(sequential_policy_gradient(*arguments).gradients[0], open_loop)
  with tf.GradientTape() as tape:  # the control: `roll_out` itself does carry the gradient
    states = roll_out(model, actor, initial_state, noise)
    objective = squash(*actor(states[:, 1], 1), noise[:, 1])
  np.testing.assert_allclose(tape.gradient(objective, actor.theta), closed_loop)


def test_a_variable_that_nothing_depends_on_raises():
  model, actor, initial_state, noise = build_lstm(0)
  actor.unused = tf.Variable(1.0, dtype=tf.float64, name='unused')
  with pytest.raises(ValueError, match='unused'):
    open_loop_policy_gradient(model, reward, actor, initial_state, noise)


def test_a_return_without_a_path_to_the_actions_raises():
  model, actor, initial_state, noise = build_lstm(0)
  with pytest.raises(ValueError, match='does not depend'):
    open_loop_policy_gradient(
        model, lambda s, a, t: tf.stop_gradient(reward(s, a, t)), actor, initial_state, noise)


def squashed_distribution(mean, log_std):
  return tfp.distributions.TransformedDistribution(
      tfp.distributions.MultivariateNormalDiag(mean, tf.exp(log_std)), tfp.bijectors.Tanh())


@pytest.mark.parametrize('mean, log_std', [((0.0, 0.3), (-1.0, -0.5)), ((1.0, -0.5), (-0.3, -3.0))])
def test_entropy_and_its_gradient_equal_tensorflow_probabilitys(mean, log_std):
  samples = 200_000
  mean, log_std = (tf.constant([x], tf.float64) for x in (mean, log_std))
  noise = tf.constant(np.random.default_rng(0).normal(size=(samples, 2)))
  distribution = squashed_distribution(mean, log_std)
  independent = -distribution.log_prob(distribution.sample(samples, seed=1))
  error = np.std(independent) / np.sqrt(samples)
  with tf.GradientTape(persistent=True) as tape:
    tape.watch([mean, log_std])
    entropy = tf.reduce_mean(squashed_entropy(mean, log_std, noise))
    actions = squash(mean, log_std, noise)
    surprise = -tf.reduce_mean(squashed_distribution(mean, log_std).log_prob(actions))
  np.testing.assert_allclose(entropy, np.mean(independent), atol=6 * error)
  # Of the same draws the two differ by a term without gradient.
  for actual, expected in zip(tape.gradient(entropy, [mean, log_std]),
                              tape.gradient(surprise, [mean, log_std])):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


def test_entropy_is_finite_where_tanh_saturates():
  mean = tf.constant([[40.0], [-40.0], [400.0]], tf.float32)
  entropy = squashed_entropy(mean, tf.zeros_like(mean), tf.zeros_like(mean))
  # log(1 - tanh(u)^2) -> 2 log 2 - 2 |u|
  expected = 0.5 * np.log(2 * np.pi * np.e) + 2 * np.log(2) - 2 * np.abs(mean[:, 0])
  np.testing.assert_allclose(entropy, expected, rtol=1e-5)
