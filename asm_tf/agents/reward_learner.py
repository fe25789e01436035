"""Fits a learned reward, and the continuation beside it, to replayed episodes (Appendix C)."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.execution import mean_of
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.errors import require_positive
from asm_tf.models.continuation import RewardUntilTermination
from asm_tf.models.loss import mask_weights
from asm_tf.models.reward_model import RewardModel
from asm_tf.replay import episode_steps


class RewardLearner(tf.Module):
  """The reward model and its optimiser.

  Attributes:
    metrics: `UpdateMetrics` of the last update.
  """

  def __init__(self, reward: RewardModel | RewardUntilTermination, setup: AgentSetup,
               learning_rate: float = 1e-3):
    """Builds the learner.

    Args:
      reward: `RewardUntilTermination` where episodes may end early.
      setup: what the agent is built for.
      learning_rate: of Adam.
    """
    super().__init__(name='reward_learner')
    require_positive(**{'RewardLearner.learning_rate': learning_rate})
    self._reward = reward
    self._horizon = setup.system.horizon
    self._execution = setup.execution
    self._has_fixed_length = setup.system.has_fixed_length
    self._optimizer = setup.execution.adam(learning_rate, reward.trainable_variables)
    self.metrics = UpdateMetrics('reward_loss')
    self._gradient = setup.execution.gradient_program(self._loss_and_gradient)
    self._apply = setup.execution.update_program(self._apply_gradient)

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the scale of the rewards."""
    self._reward.observe(episodes.reward[:, :-1], episode_steps.steps_taken(episodes))

  def update(self, experience: Trajectory) -> None:
    """Makes one update with episodes, a Trajectory [B, H+1, ...]."""
    batch = [experience.observation[:, :-1, :-1], experience.action[:, :-1],
             experience.reward[:, :-1]]
    if not self._has_fixed_length:
      taken = episode_steps.steps_taken(experience)
      visited = episode_steps.states_visited(experience)[:, :-1]
      batch += [taken, mask_weights(taken), mask_weights(visited)]
    self._apply(self._gradient(*batch))

  def _loss_and_gradient(self, states, actions, rewards, *masks):
    with tf.GradientTape() as tape:
      loss = self._reward.loss(states, actions, tf.range(self._horizon), rewards, *masks)
    return loss, tape.gradient(loss, self._reward.trainable_variables)

  def _apply_gradient(self, microbatches):
    loss, gradients = mean_of(microbatches)
    _, applied = self._execution.apply_if_finite(
        self._optimizer, gradients, self._reward.trainable_variables)
    self.metrics.record(applied, reward_loss=loss)
