"""Fits the critic to replayed windows, by temporal differences."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.critic import Critic
from asm_tf.agents.execution import mean_of
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.errors import require_positive
from asm_tf.gradients.policy_gradient import Actor
from asm_tf.models.loss import mask_weights
from asm_tf.policies.squashed_gaussian import squash, squashed_entropy
from asm_tf.random_streams import Stream
from asm_tf.replay import episode_steps


class CriticLearner(tf.Module):
  """The critic and its optimiser.

  For every real step of a window, with a' drawn from the policy at s_{t+1} and gamma = 0 where the
  environment ended the episode,

      Q(s_t, a_t) -> r_t + gamma (min Q_target(s_{t+1}, a') + alpha H(pi(s_{t+1})))

  as soft actor-critic has it (Haarnoja et al., 2018). Real rewards and real states alone: what
  the model gets wrong stays within the window that the policy imagines.

  Attributes:
    metrics: `UpdateMetrics` of the last update.
  """

  def __init__(self, critic: Critic, actor: Actor, setup: AgentSetup,
               learning_rate: float = 3e-4):
    """Builds the learner.

    Args:
      critic: what is learned.
      actor: the policy whose return is estimated.
      setup: what the agent is built for.
      learning_rate: of Adam.
    """
    super().__init__(name='critic_learner')
    require_positive(**{'CriticLearner.learning_rate': learning_rate})
    self._critic, self._actor = critic, actor
    self._execution = setup.execution
    self._action_size = setup.action_spec.shape[0]
    self._optimizer = setup.execution.adam(learning_rate, critic.trainable_variables)
    self._generator = setup.generator(Stream.CRITIC)
    self.metrics = UpdateMetrics('critic_loss', 'critic_value', 'entropy_constant')
    self._gradient = setup.execution.gradient_program(self._loss_and_gradient)
    self._apply = setup.execution.update_program(self._apply_gradient)

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the critic's units."""
    self._critic.observe(episodes)

  def update(self, experience: Trajectory) -> None:
    """Makes one update with windows, a Trajectory [B, k+1, ...]."""
    noise = self._generator.normal([*experience.reward[:, 1:].shape, self._action_size])
    weights = mask_weights(episode_steps.steps_taken(experience))
    self._apply(self._gradient(
        experience.observation, experience.action[:, :-1], experience.reward[:, :-1],
        experience.discount[:, :-1], noise, weights))

  def _loss_and_gradient(self, observations, *steps):
    now, after = observations[:, :-1], observations[:, 1:]
    # All steps of all windows alike.
    now, after, actions, rewards, discounts, noise, weights = (
        tf.reshape(x, [-1, *x.shape[2:]]) for x in (now, after, *steps))
    mean, log_std = self._actor(after[:, :-1], after[:, -1])
    value = (self._critic.target_value(after, squash(mean, log_std, noise))
             + self._critic.entropy_constant * squashed_entropy(mean, log_std, noise))
    goal = (self._critic.units.normalize(rewards) + self._critic.discount * discounts * value)
    with tf.GradientTape() as tape:
      estimates = self._critic.estimates(now, actions)
      loss = tf.add_n([tf.reduce_mean(weights * (q - goal)**2) for q in estimates])
    gradient = tape.gradient(loss, self._critic.trainable_variables)
    return loss, tf.reduce_mean(weights * estimates[0]), gradient

  def _apply_gradient(self, microbatches):
    loss, value, gradients = mean_of(microbatches)
    _, applied = self._execution.apply_if_finite(
        self._optimizer, gradients, self._critic.trainable_variables)
    self._critic.update_targets()
    self.metrics.record(applied, critic_loss=loss, critic_value=value * self._critic.units.scale,
                        entropy_constant=self._critic.entropy_constant)
