"""Compares the policy gradient through a learned model with the simulator's own."""

import tensorflow as tf

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.policy_learner import PolicyLearner
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.agents.world import World
from asm_tf.errors import UserError, require_at_least
from asm_tf.gradients.comparison import cosine_similarity, relative_error
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.system import System


class GradientComparison(tf.Module):
  """Observes the starts and the noise of policy updates.

  Attributes:
    period: policy updates between comparisons; 0 compares nothing.
    metrics: `UpdateMetrics` of the last comparison.
  """

  def __init__(self, policy_learner: PolicyLearner, world: World, setup: AgentSetup,
               period: int = 0):
    """Builds the observer.

    Args:
      policy_learner: whose gradient is compared.
      world: in which it imagines.
      setup: what the agent is built for.
      period: see the class.
    """
    super().__init__(name='gradient_comparison')
    require_at_least(0, **{'GradientComparison.period': period})
    self.period = period
    if not period:
      return
    if not isinstance(setup.system, System):
      raise UserError(f'{setup.system.name} has no equations to compare gradients with: leave '
                      'GradientComparison.period at 0.')
    self._policy_learner = policy_learner
    self._world = world
    self._simulator = World(
        TrueDynamics(setup.system), setup.system.reward, world.normalizer, world.critic)
    self._policy_updates = tf.Variable(0, trainable=False, name='policy_updates')
    self.metrics = UpdateMetrics('gradient_cosine', 'gradient_relative_error')
    self._compare = setup.execution.update_program(self._compare_gradients)

  def observe(self, starts: tf.Tensor, noise: tf.Tensor) -> None:
    """Sees what a policy update is about to start from, and compares when it is time to."""
    tf.cond(self._policy_updates % self.period == 0,
            lambda: self._compare(starts, noise), lambda: None)
    self._policy_updates.assign_add(1)

  def _compare_gradients(self, starts, noise):
    learned, true = (
        self._policy_learner.policy_gradient(world, starts, noise).gradients
        for world in (self._world, self._simulator))
    self.metrics.record(gradient_cosine=cosine_similarity(learned, true),
                        gradient_relative_error=relative_error(learned, true))
