"""Fits the world model to replayed episodes (paper, Algorithm 1)."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.execution import mean_of
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.agents.world import World
from asm_tf.errors import require_positive
from asm_tf.models.loss import mask_weights, prediction_loss, require_loss_weighting
from asm_tf.replay import episode_steps


class ModelLearner(tf.Module):
  """The world model, its optimiser, and the weights of its prediction errors.

  Attributes:
    metrics: `UpdateMetrics` of the last update.
  """

  def __init__(self, world: World, setup: AgentSetup, learning_rate: float = 1e-3,
               loss_weighting: str = 'uniform'):
    """Builds the learner.

    Args:
      world: holds the model and the normaliser.
      setup: what the agent is built for.
      learning_rate: of Adam.
      loss_weighting: see `prediction_loss`.
    """
    super().__init__(name='model_learner')
    require_positive(**{'ModelLearner.learning_rate': learning_rate})
    require_loss_weighting('ModelLearner.loss_weighting', loss_weighting)
    self._world = world
    self._execution = setup.execution
    self._has_full_sequences, self._has_windows = setup.has_full_sequences, setup.has_windows
    self._loss_weighting = loss_weighting
    self._optimizer = setup.execution.adam(learning_rate, world.model.trainable_variables)
    self.metrics = UpdateMetrics('model_loss', 'model_gradient_norm')
    self._gradient = setup.execution.gradient_program(
        self._loss_and_gradient, world.model.microbatch_size(setup.steps))
    self._apply = setup.execution.update_program(self._apply_gradient)

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the scales of the states."""
    self._world.normalizer.update(
        episodes.observation[..., :-1], episode_steps.states_visited(episodes))

  def update(self, experience: Trajectory) -> None:
    """Makes one update with sequences, a Trajectory [B, T+1, ...]."""
    self._apply(self._gradient(*self._batch(experience)))

  def loss(self, experience: Trajectory, training: bool = False) -> tf.Tensor:
    """Returns the prediction loss, a scalar, of the sequences that `update` takes."""
    return self._loss(*self._batch(experience), training=training)

  def _batch(self, experience):
    """Observations, actions and, where a sequence may end early, weights [B, T] of its steps."""
    sequences = experience.observation, experience.action[:, :-1]
    if self._has_full_sequences:
      return sequences
    # Their mean is 1 over the whole batch: the mean over microbatches is the masked mean.
    return *sequences, mask_weights(episode_steps.steps_taken(experience))

  def _loss(self, observations, actions, weights=None, *, training=False):
    first_step = tf.cast(observations[:, 0, -1], tf.int32) if self._has_windows else None
    return prediction_loss(
        self._world.model_from(first_step), self._world.normalizer, observations[..., :-1], actions,
        weights, self._loss_weighting, training)

  def _loss_and_gradient(self, *batch):
    with tf.GradientTape() as tape:
      loss = self._loss(*batch, training=True)
    return loss, tape.gradient(loss, self._world.model.trainable_variables)

  def _apply_gradient(self, microbatches):
    loss, gradients = mean_of(microbatches)
    norm, applied = tf.zeros_like(loss), True
    if gradients:  # the true dynamics have none
      norm, applied = self._execution.apply_if_finite(
          self._optimizer, gradients, self._world.model.trainable_variables)
    self.metrics.record(applied, model_loss=loss, model_gradient_norm=norm)
