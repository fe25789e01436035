"""The policy before it has learned anything."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor


@pytest.mark.parametrize('initial_std', [0.02, 0.5, 2.0])
def test_it_begins_near_0_with_the_deviation_that_is_asked_for(initial_std):
  tf.keras.utils.set_random_seed(0)
  actor = SquashedGaussianActor(Normalizer(2, 10), 2, 1, initial_std=initial_std)
  mean, log_std = actor(tf.random.normal([500, 2]), 3)
  assert np.exp(np.mean(log_std)) == pytest.approx(initial_std, rel=0.2)
  assert np.max(np.abs(mean)) < 0.5
