"""The policy that is evaluated: an average of those that training went through."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.agents.averaged_actor import AveragedActor
from asm_tf.errors import UserError


class OneWeight(tf.Module):
  def __init__(self):
    super().__init__()
    self.weight = tf.Variable(tf.random.normal([]))


def averages(rate, weights, trusts):
  actor = AveragedActor(OneWeight, rate)
  seen = []
  for weight, trust in zip(weights, trusts, strict=True):
    actor.trained.weight.assign(weight)
    actor.update(trust)
    seen.append(float(actor.average.weight))
  return seen


def test_both_begin_alike():
  actor = AveragedActor(OneWeight)
  np.testing.assert_array_equal(actor.average.weight, actor.trained.weight)


def test_the_average_is_the_weighted_mean_of_all_so_far():
  rate, weights, trusts = 0.1, np.array([3.0, -1.0, 2.0, 5.0]), np.array([0.5, 1.0, 0.0, 0.8])
  share = rate * trusts  # of the newest; what went before keeps the rest
  for k, found in enumerate(averages(rate, weights, trusts)):
    kept = [share[i] * np.prod(1 - share[i + 1:k + 1]) for i in range(k + 1)]
    np.testing.assert_allclose(found, np.dot(kept, weights[:k + 1]) / np.sum(kept), rtol=1e-5)


def test_a_policy_that_is_not_trusted_does_not_move_it():
  assert averages(0.5, [1.0, 100.0], [1.0, 0.0]) == [1.0, 1.0]


def test_at_rate_1_it_is_the_newest():
  assert averages(1.0, [0.1, 0.7, -0.3], [1.0, 1.0, 1.0]) == pytest.approx(
      [0.1, 0.7, -0.3], rel=1e-7)


@pytest.mark.parametrize('rate', [0.0, -1.0, 1.5, float('nan')])
def test_another_rate_is_refused(rate):
  with pytest.raises(UserError, match='AveragedActor.rate is'):
    AveragedActor(OneWeight, rate)
