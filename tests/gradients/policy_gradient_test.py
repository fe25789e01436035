"""The open-loop policy gradient by independent routes (float64)."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from asm_tf.gradients.policy_gradient import (
  open_loop_policy_gradient,
  roll_out,
  sequential_policy_gradient,
)
from asm_tf.models.lstm import LSTM
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor, squash, squashed_entropy
from tests.support.small_models import LinearActor, flat, randomise, reward

B, H, N, M = 3, 6, 2, 2


class Copy(SequenceModel):
  """The next state is the action."""

  def call(self, initial_state, actions):
    return actions

  def start(self, initial_state, horizon):
    return ()

  def step(self, carry, action, t):
    return action, carry


def build_lstm(seed):
  """An LSTM and an actor with random weights that share a normaliser, s_0 and noise."""
  tf.keras.utils.set_random_seed(seed)
  generator = np.random.default_rng(seed)
  normalizer = Normalizer(N, H, dtype=tf.float64)
  normalizer.update(tf.constant(generator.normal(1, 2, (20, N))))
  actor = SquashedGaussianActor(normalizer, N, M, hidden_sizes=(5,), dtype='float64')
  randomise(actor, generator)
  noise = tf.constant(generator.normal(size=(B, H, M)))
  model = LSTM(normalizer, N, M, embedding_size=4, hidden_sizes=(4, 3), dtype='float64')
  randomise(model, generator)
  return model, actor, tf.constant(generator.normal(size=(B, N))), noise


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


@pytest.mark.parametrize(('scale', 'constant'), [(1.0, 0.0), (7.0, 0.0), (2.0, 0.5)])
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
  for variable, gradient in zip(actor.trainable_variables, imagined.gradients, strict=True):
    direction = np.random.default_rng(0).normal(size=variable.shape)
    variable.assign_add(step * direction)
    ahead = objective_and_entropy()[0]
    variable.assign_add(-2 * step * direction)
    behind = objective_and_entropy()[0]
    variable.assign_add(step * direction)
    np.testing.assert_allclose(np.sum(gradient * direction), (ahead - behind) / (2 * step),
                               rtol=1e-6, atol=1e-8, err_msg=variable.name)


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


@pytest.mark.parametrize(('mean', 'log_std'), [
    ((0.0, 0.3), (-1.0, -0.5)), ((1.0, -0.5), (-0.3, -3.0))])
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
                              tape.gradient(surprise, [mean, log_std]), strict=True):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


def test_entropy_is_finite_where_tanh_saturates():
  mean = tf.constant([[40.0], [-40.0], [400.0]], tf.float32)
  entropy = squashed_entropy(mean, tf.zeros_like(mean), tf.zeros_like(mean))
  # log(1 - tanh(u)^2) -> 2 log 2 - 2 |u|
  expected = 0.5 * np.log(2 * np.pi * np.e) + 2 * np.log(2) - 2 * np.abs(mean[:, 0])
  np.testing.assert_allclose(entropy, expected, rtol=1e-5)
