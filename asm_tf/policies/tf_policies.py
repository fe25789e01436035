"""TF-Agents policies that explore by `ColoredNoise` and `UniformSteps`."""

import math
from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.distributions.utils import SquashToSpecNormal
from tf_agents.policies import tf_policy
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts

from asm_tf.policies.colored_noise import ColoredNoise
from asm_tf.policies.squashed_gaussian import squash
from asm_tf.policies.uniform_steps import UniformSteps


class SquashedGaussianPolicy(tf_policy.TFPolicy):
  """Acts by a `SquashedGaussianActor`; the observation is (state, time)."""

  def __init__(self, time_step_spec: ts.TimeStep, action_spec: tf.TypeSpec,
               actor: Callable[..., tuple[tf.Tensor, tf.Tensor]],
               noise: ColoredNoise | None = None, uniform_steps: UniformSteps | None = None):
    """Builds the policy.

    Args:
      time_step_spec: TF-Agents time-step spec with observations [n+1].
      action_spec: TF-Agents action spec, [m] in [-1, 1].
      actor: `SquashedGaussianActor`.
      noise: of the exploration; None acts greedily, by tanh(mu).
      uniform_steps: of the exploration, with `noise`.
    """
    super().__init__(time_step_spec, action_spec, clip=False,
                     policy_state_spec=() if noise is None else noise.spec)
    self._actor = actor
    self._noise, self._uniform_steps = noise, uniform_steps

  def _variables(self):
    return self._actor.variables

  def _moments(self, time_step):
    observation = time_step.observation
    return self._actor(observation[..., :-1], observation[..., -1])

  def _action(self, time_step, policy_state, seed):
    mean, log_std = self._moments(time_step)
    if self._noise is None:
      return policy_step.PolicyStep(tf.tanh(mean), policy_state)
    noise, policy_state = self._noise.step(time_step, policy_state)
    action = squash(mean, log_std, noise)
    if self._uniform_steps is not None:
      action = self._uniform_steps.replace(action)
    return policy_step.PolicyStep(action, policy_state)

  def _distribution(self, time_step, policy_state):
    mean, log_std = self._moments(time_step)
    explores = self._noise is not None
    std = tf.exp(log_std) if explores else tf.zeros_like(log_std)
    distribution = SquashToSpecNormal(
        tfp.distributions.MultivariateNormalDiag(mean, std), self.action_spec)
    if explores and self._uniform_steps is not None:
      distribution = self._uniform_steps.mixed(distribution)
    return policy_step.PolicyStep(distribution, policy_state)


class UniformPolicy(tf_policy.TFPolicy):
  """Actions that are uniform within the action spec at every step, and correlated over steps."""

  def __init__(self, time_step_spec: ts.TimeStep, action_spec: tf.TypeSpec, noise: ColoredNoise):
    super().__init__(time_step_spec, action_spec, clip=False, policy_state_spec=noise.spec)
    self._noise = noise

  def _variables(self):
    return []

  def _action(self, time_step, policy_state, seed):
    noise, policy_state = self._noise.step(time_step, policy_state)
    spec = self.action_spec
    unit = (1 + tf.math.erf(noise / math.sqrt(2))) / 2  # the normal distribution function
    action = spec.minimum + unit * (spec.maximum - spec.minimum)
    action = tf.clip_by_value(action, spec.minimum, spec.maximum)  # rounding may leave it
    return policy_step.PolicyStep(action, policy_state)

  def _distribution(self, time_step, policy_state):
    spec = self.action_spec
    low = tf.broadcast_to(spec.minimum, tf.concat([tf.shape(time_step.step_type), spec.shape], 0))
    return policy_step.PolicyStep(
        tfp.distributions.Independent(tfp.distributions.Uniform(low, spec.maximum), 1),
        policy_state)
