"""The units of the states matter to no network, and the step does."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.models.continuation import ContinuationModel
from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.models.normalizer import Normalizer
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from tests.support.small_models import randomise

T = 6


def actor(normalizer):
  network = SquashedGaussianActor(normalizer, 2, 1, (8,))
  return network, lambda states, t: tf.concat(network(states, t), -1)


def continuation(normalizer):
  network = ContinuationModel(normalizer, 2, (8,))
  return network, network


def decision_transformer(normalizer):
  network = DecisionTransformer(normalizer, 2, 1, T, 12, 1, 3, 16, 0.0)
  return network, lambda states, t: network(
      tf.zeros([1, T]), states, tf.zeros([1, T, 1]), t)[0]


@pytest.mark.parametrize('make', [actor, continuation, decision_transformer])
def test_units_do_not_matter_and_the_step_does(make):
  states, found = tf.random.stateless_normal([1, T, 2], [0, 0]), []
  for seen in (states, [3.0, -50.0] + states * [2.0, 100.0]):
    tf.keras.utils.set_random_seed(0)
    normalizer = Normalizer(2, 10)
    normalizer.update(seen)
    network, ask = make(normalizer)
    randomise(network, np.random.default_rng(0))
    found.append([ask(seen, tf.range(first, first + T)[None]).numpy() for first in (0, 1)])
  np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4)
  assert np.max(np.abs(found[0][0] - found[0][1])) > 1e-3
