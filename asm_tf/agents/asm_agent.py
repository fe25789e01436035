"""The action-sequence model policy gradient agent (paper, Algorithm 1)."""

from collections.abc import Sequence

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents import update_metrics
from asm_tf.agents.agent_setup import AgentSetup, refuse_weights
from asm_tf.agents.critic_learner import CriticLearner
from asm_tf.agents.gradient_comparison import GradientComparison
from asm_tf.agents.model_learner import ModelLearner
from asm_tf.agents.model_validation import ModelValidation
from asm_tf.agents.policy_learner import PolicyLearner
from asm_tf.agents.reward_learner import RewardLearner
from asm_tf.agents.window_validation import WindowValidation
from asm_tf.agents.world import World
from asm_tf.errors import require_at_least
from asm_tf.policies.colored_noise import ColoredNoise
from asm_tf.policies.tf_policies import SquashedGaussianPolicy
from asm_tf.policies.uniform_steps import UniformSteps
from asm_tf.random_streams import Stream


class AsmAgent(tf_agent.TFAgent):
  """Fits a world model to what the policy did, and improves the policy through it.

  One `train` call is one update of the model (and of a learned reward and a critic) and stands for
  `setup.model_period` environment steps; once `policy_period` of them have gone by, it is an
  update of the policy too.

  Attributes:
    world: the learned `World`.
    model_learner: learns its model.
    policy_learner: improves the policy in it.
    other_learners: learn its reward and its critic, where there are any to learn.
    model_validation: measures the model on new episodes and says how far it can be trusted;
      None trusts it.
  """

  def __init__(self, setup: AgentSetup, world: World, model_learner: ModelLearner,
               policy_learner: PolicyLearner,
               other_learners: Sequence[RewardLearner | CriticLearner] = (),
               gradient_comparison: GradientComparison | None = None,
               model_validation: ModelValidation | WindowValidation | None = None,
               policy_period: int = 16):
    """Builds the agent from its parts.

    Args:
      setup: what it is built for.
      world: see the class.
      model_learner: see the class.
      policy_learner: see the class.
      other_learners: of what else is learned in the world, its reward and its critic.
      gradient_comparison: observer of the policy updates, or None.
      model_validation: see the class.
      policy_period: environment steps per policy update, at least `setup.model_period`.
    """
    require_at_least(1, model_period=setup.model_period)
    require_at_least(setup.model_period, **{'AsmAgent.policy_period': policy_period})
    self.world = world
    self.model_learner = model_learner
    self.policy_learner = policy_learner
    self.other_learners = list(other_learners)
    self._gradient_comparison = gradient_comparison
    self.model_validation = model_validation
    self._model_period = setup.model_period
    self._policy_period = policy_period
    specs, horizon = (setup.time_step_spec, setup.action_spec), setup.system.horizon
    super().__init__(
        *specs,
        policy=SquashedGaussianPolicy(*specs, policy_learner.average_actor),
        collect_policy=SquashedGaussianPolicy(
            *specs, policy_learner.actor,
            ColoredNoise(setup.generator(Stream.EXPLORATION), horizon, setup.action_spec.shape[0]),
            UniformSteps(setup.generator(Stream.UNIFORM_STEPS), horizon)),
        train_sequence_length=setup.steps + 1,
        train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False, name='train_step'))

  def observe(self, episodes: Trajectory) -> None:
    """Validates the model on new episodes, a Trajectory [B, H+1, ...], and learns their scales."""
    if self.model_validation is not None:
      self.model_validation.observe(episodes)
    for learner in self._learners:
      learner.observe(episodes)

  def metrics(self) -> dict[str, tf.Tensor]:
    """{name: scalar} of the last updates; NaN before the first."""
    return update_metrics.merge(*(part.metrics for part in (
        *self._learners, self.model_validation, self._gradient_comparison) if part is not None))

  def _train(self, experience, weights=None):
    refuse_weights(weights, 'episodes')
    if experience.observation.shape[1] != self.train_sequence_length:
      raise ValueError(f'experience has {experience.observation.shape[1]} rows per trajectory, '
                       f'expected {self.train_sequence_length}.')
    self.model_learner.update(experience)
    for learner in self.other_learners:
      learner.update(experience)
    self.train_step_counter.assign_add(1)
    tf.cond(self._policy_update_is_due(),
            lambda: self._improve_policy(experience), lambda: None)
    metrics = {name: tf.identity(value) for name, value in self.metrics().items()}
    return tf_agent.LossInfo(loss=metrics['model_loss'], extra=metrics)

  def _policy_update_is_due(self):
    steps = self.train_step_counter * self._model_period
    return steps // self._policy_period > (steps - self._model_period) // self._policy_period

  def _improve_policy(self, experience):
    starts, noise = self.policy_learner.starts(experience), self.policy_learner.draw_noise()
    if self._gradient_comparison is not None:
      self._gradient_comparison.observe(starts, noise)
    scale = 1.0 if self.model_validation is None else self.model_validation.update_scale()
    self.policy_learner.update(starts, noise, scale)

  def _loss(self, experience, weights=None, training=False):
    refuse_weights(weights, 'episodes')
    return tf_agent.LossInfo(self.model_learner.loss(experience, training), extra=())

  @property
  def _learners(self):
    return [self.model_learner, *self.other_learners, self.policy_learner]
