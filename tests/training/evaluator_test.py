"""Evaluations of one policy where steps are random: equal, by their seed."""

import numpy as np

from asm_tf.models.normalizer import Normalizer
from asm_tf.policies.action_sequence import ActionSequence
from asm_tf.policies.tf_policies import SquashedGaussianPolicy
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training.evaluator import Evaluator

H = 5


def test_an_evaluation_draws_what_its_seed_says_and_nothing_else():
  actor = ActionSequence(Normalizer(1, H), 1, 1)

  def returns(seed):
    evaluator = Evaluator(CancerTreatment(H, process_noise=0.05),
                          lambda *specs: SquashedGaussianPolicy(*specs, actor), seed, episodes=4)
    first, second = evaluator.evaluate().returns, evaluator.evaluate().returns
    np.testing.assert_array_equal(first, second)
    return first

  assert len(set(returns(0))) == 4
  np.testing.assert_array_equal(returns(0), returns(0))
  assert np.all(returns(0) != returns(1))
