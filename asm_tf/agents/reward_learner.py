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
    can_terminate = isinstance(reward, RewardUntilTermination)
    self._reward = reward.reward if can_terminate else reward
    self._continuation = reward.continuation if can_terminate else None
    self._variables = reward.trainable_variables
    self._last_step = setup.last_step
    self._execution = setup.execution
    self._has_full_sequences = setup.has_full_sequences
    self._optimizer = setup.execution.adam(learning_rate, self._variables)
    self.metrics = UpdateMetrics('reward_loss')
    self._gradient = setup.execution.gradient_program(self._loss_and_gradient)
    self._apply = setup.execution.update_program(self._apply_gradient)

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the scale of the rewards."""
    self._reward.observe(episodes.reward[:, :-1], episode_steps.steps_taken(episodes))

  def update(self, experience: Trajectory) -> None:
    """Makes one update with sequences, a Trajectory [B, T+1, ...]."""
    batch = [experience.observation, experience.action[:, :-1], experience.reward[:, :-1]]
    taken = episode_steps.steps_taken(experience)
    if not self._has_full_sequences:
      # Weights of the whole batch: the mean of the losses of its parts is then its loss.
      batch.append(mask_weights(taken))
    if self._continuation is not None:
      # That nothing counts from step H on need not be learned.
      is_open = True if self._last_step is None else (
          experience.observation[:, 1:, -1] < self._last_step)
      batch += [experience.discount[:, :-1], mask_weights(taken & is_open)]
    self._apply(self._gradient(*batch))

  def _loss_and_gradient(self, observations, actions, rewards, taken_weights=None,
                         continues=None, continues_weights=None):
    states, t = observations[..., :-1], observations[..., -1]
    with tf.GradientTape() as tape:
      loss = self._reward.loss(states[:, :-1], actions, t[:, :-1], rewards, taken_weights)
      if self._continuation is not None:
        loss += self._continuation.loss(states[:, 1:], t[:, 1:], continues, continues_weights)
    return loss, tape.gradient(loss, self._variables)

  def _apply_gradient(self, microbatches):
    loss, gradients = mean_of(microbatches)
    _, applied = self._execution.apply_if_finite(self._optimizer, gradients, self._variables)
    self.metrics.record(applied, reward_loss=loss)
