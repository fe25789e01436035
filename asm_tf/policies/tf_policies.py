"""TF-Agents policies whose noise comes from checkpointable generators."""

from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.distributions.utils import SquashToSpecNormal
from tf_agents.policies import tf_policy
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts

from asm_tf.policies.squashed_gaussian import squash


class SquashedGaussianPolicy(tf_policy.TFPolicy):
  """Acts by a `SquashedGaussianActor`; the observation is (state, time)."""

  def __init__(self, time_step_spec: ts.TimeStep, action_spec: tf.TypeSpec,
               actor: Callable[..., tuple[tf.Tensor, tf.Tensor]],
               generator: tf.random.Generator | None = None):
    """Builds the policy.

    Args:
      time_step_spec: TF-Agents time-step spec with observations [n+1].
      action_spec: TF-Agents action spec, [m] in [-1, 1].
      actor: `SquashedGaussianActor`.
      generator: tf.random.Generator for exploration; None acts greedily, by
        tanh(mu).
    """
    super().__init__(time_step_spec, action_spec, clip=False)
    self._actor = actor
    self._generator = generator

  def _variables(self):
    return self._actor.variables

  def _moments(self, time_step):
    observation = time_step.observation
    return self._actor(observation[..., :-1], observation[..., -1])

  def _action(self, time_step, policy_state, seed):
    mean, log_std = self._moments(time_step)
    if self._generator is None:
      action = tf.tanh(mean)
    else:
      action = squash(mean, log_std, self._generator.normal(tf.shape(mean), dtype=mean.dtype))
    return policy_step.PolicyStep(action, policy_state)

  def _distribution(self, time_step, policy_state):
    mean, log_std = self._moments(time_step)
    std = tf.zeros_like(log_std) if self._generator is None else tf.exp(log_std)
    gaussian = tfp.distributions.MultivariateNormalDiag(mean, std)
    return policy_step.PolicyStep(
        SquashToSpecNormal(gaussian, self.action_spec), policy_state)


class UniformPolicy(tf_policy.TFPolicy):
  """Uniform random actions within the action spec."""

  def __init__(self, time_step_spec: ts.TimeStep, action_spec: tf.TypeSpec,
               generator: tf.random.Generator):
    super().__init__(time_step_spec, action_spec, clip=False)
    self._generator = generator

  def _variables(self):
    return []

  def _action(self, time_step, policy_state, seed):
    spec = self.action_spec
    shape = tf.concat([tf.shape(time_step.step_type), spec.shape], 0)
    unit = self._generator.uniform(shape, dtype=spec.dtype)
    action = spec.minimum + unit * (spec.maximum - spec.minimum)
    return policy_step.PolicyStep(action, policy_state)

  def _distribution(self, time_step, policy_state):
    spec = self.action_spec
    low = tf.broadcast_to(spec.minimum, tf.concat([tf.shape(time_step.step_type), spec.shape], 0))
    return policy_step.PolicyStep(
        tfp.distributions.Independent(tfp.distributions.Uniform(low, spec.maximum), 1),
        policy_state)
