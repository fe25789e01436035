"""The policy of the warm-up, for tests that need episodes."""

import tensorflow as tf
from tf_agents.environments.tf_environment import TFEnvironment

from asm_tf.policies.colored_noise import ColoredNoise
from asm_tf.policies.tf_policies import UniformPolicy


def uniform_policy(env: TFEnvironment, horizon: int) -> UniformPolicy:
  """Uniform random actions of seed 0."""
  noise = ColoredNoise(tf.random.Generator.from_seed(0, alg='philox'), horizon,
                       env.action_spec().shape[0], exponent=0.0)
  return UniformPolicy(env.time_step_spec(), env.action_spec(), noise)
