"""The actions of the warm-up."""

import scipy.stats

from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from tests.support.uniform_policy import uniform_policy


def test_the_warm_up_draws_uniform_actions():
  env = SystemEnvironment(CancerTreatment(5), 4000)
  policy = uniform_policy(env, 5)
  actions = policy.action(env.reset(), policy.get_initial_state(4000)).action[:, 0]
  assert scipy.stats.kstest(actions, 'uniform', (-1, 2)).pvalue > 1e-3
