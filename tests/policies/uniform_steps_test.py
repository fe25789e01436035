"""Uniform steps: how many there are, what they draw, and the distribution that they make."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.distributions.utils import SquashToSpecNormal
from tf_agents.specs import tensor_spec

from asm_tf.errors import UserError
from asm_tf.policies.uniform_steps import UniformSteps

SAMPLES = 20_000


def uniform_steps(*settings, horizon=20, **named_settings):
  generator = tf.random.Generator.from_seed(0, alg='philox')
  return UniformSteps(generator, horizon, *settings, **named_settings)


@pytest.mark.parametrize(('per_episode', 'horizon', 'share'), [
    (6, 20, 0.3), (6, 500, 0.012), (6, 4, 0.3), (0, 20, 0.0)])
def test_an_episode_has_as_many_as_were_asked_for(per_episode, horizon, share):
  outside = 2.0  # what no uniform action is
  steps = uniform_steps(per_episode, horizon=horizon)
  actions = steps.replace(tf.fill([SAMPLES, 2], outside)).numpy()
  replaced = actions != outside
  np.testing.assert_array_equal(replaced[:, 0], replaced[:, 1])  # a step is replaced as a whole
  assert abs(replaced.mean() - share) <= 4 * np.sqrt(share * (1 - share) / SAMPLES)
  for drawn in actions[replaced[:, 0]].T:
    assert drawn.size == 0 or scipy.stats.kstest(drawn, 'uniform', (-1, 2)).pvalue > 1e-3


def test_the_draws_of_two_steps_differ():
  steps = uniform_steps(20, largest_share=1.0)
  first, second = (steps.replace(tf.zeros([SAMPLES, 1])).numpy()[:, 0] for _ in range(2))
  assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_actions_follow_the_distribution():
  steps = uniform_steps(6)
  spec = tensor_spec.BoundedTensorSpec([2], tf.float32, -1, 1)
  policy = SquashToSpecNormal(tfp.distributions.MultivariateNormalDiag(
      tf.tile([[0.3, -1.0]], [SAMPLES, 1]), tf.tile([[0.2, 0.5]], [SAMPLES, 1])), spec)
  actions = steps.replace(policy.sample(seed=0)).numpy()
  distribution = steps.mixed(policy)
  expected = distribution.sample(seed=1).numpy()
  for i in range(2):
    assert scipy.stats.ks_2samp(actions[:, i], expected[:, i]).pvalue > 1e-3
  density = 0.7 * np.exp(policy.log_prob(actions)) + 0.3 / 4
  np.testing.assert_allclose(np.exp(distribution.log_prob(actions)), density, rtol=1e-4)


@pytest.mark.parametrize(('name', 'value', 'remedy'), [
    *(('per_episode', value, 'of at least 0') for value in (-1, float('nan'), float('inf'), 'six')),
    *(('largest_share', value, 'above 0, up to 1') for value in (0, 1.5, float('nan')))])
def test_a_bad_number_is_one_line(name, value, remedy):
  with pytest.raises(UserError, match=f'UniformSteps.{name} is .*: give a number {remedy}'):
    uniform_steps(**{name: value})
