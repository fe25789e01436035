"""Improves the policy by the gradient of the imagined return (paper, Algorithm 1)."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.averaged_actor import AveragedActor
from asm_tf.agents.execution import mean_of
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.agents.world import World
from asm_tf.errors import (
    require_at_least,
    require_from_0_to_1,
    require_not_negative,
    require_positive,
)
from asm_tf.gradients.policy_gradient import (
    Imagined,
    open_loop_policy_gradient,
    sequential_policy_gradient,
)
from asm_tf.models.running_moments import RunningMoments
from asm_tf.models.timed import ActorFromStep
from asm_tf.random_streams import Stream
from asm_tf.replay import episode_steps


class PolicyLearner(tf.Module):
  """The actor, its optimiser and its gradient estimator.

  Attributes:
    actor: the policy that is improved, and explores.
    average_actor: the average of its last weights, which is evaluated and saved.
    metrics: `UpdateMetrics` of the last update.
  """

  def __init__(self, actor: AveragedActor, world: World, setup: AgentSetup,
               learning_rate: float = 1e-3, batch_size: int = 16,
               entropy_constant: float = 0.02, clip_norm: float = 0.3,
               closed_loop_weight: float = 0.0):
    """Builds the learner.

    Args:
      actor: the policy and its average, built.
      world: what the policy is improved in. Where its normaliser is enabled, returns count
        in units of their running standard deviation and the entropy is its mean over the steps,
        so that their balance is the same at every horizon. Else both are the sums over the steps,
        as in the paper. Where it has a critic, returns count in the critic's units, and the
        entropy constant is the critic's.
      setup: what the agent is built for.
      learning_rate: of Adam.
      batch_size: imagined trajectories per update.
      entropy_constant: weight of the policy's entropy, in units of the returns.
      clip_norm: largest norm of the policy gradient, in units of the returns. The first gradients
        are a hundred times as long as the last; unclipped, they stay in Adam's second moments for
        a thousand updates, and the policy hardly moves.
      closed_loop_weight: 0 follows the open-loop policy gradient, by two passes; up to 1, the
        gradient that also flows back through the policy's inputs, by the sequential route.
    """
    super().__init__(name='policy_learner')
    require_positive(**{'PolicyLearner.learning_rate': learning_rate,
                        'PolicyLearner.clip_norm': clip_norm})
    require_at_least(1, **{'PolicyLearner.batch_size': batch_size})
    require_not_negative(**{'PolicyLearner.entropy_constant': entropy_constant})
    require_from_0_to_1(**{'PolicyLearner.closed_loop_weight': closed_loop_weight})
    execution = setup.execution
    execution.require_shardable('PolicyLearner.batch_size', batch_size)
    self.actor, self.average_actor = actor.trained, actor.average
    self._averaged_actor = actor
    self._world = world
    self._execution = execution
    self._has_windows = setup.has_windows
    steps = setup.steps + (0 if world.critic is None else 1)  # the last one is the critic's
    self._noise_shape = [batch_size, steps, setup.action_spec.shape[0]]
    is_normalized = world.normalizer.enabled and world.critic is None
    self._step_entropy_constant = (
        entropy_constant / setup.system.horizon if is_normalized else entropy_constant)
    self._clip_norm = clip_norm
    self._closed_loop_weight = closed_loop_weight
    with execution.creating_variables():
      self._return_moments = RunningMoments(1) if is_normalized else None
    self._learning_rate = learning_rate
    self._optimizer = execution.adam(learning_rate, self.actor.trainable_variables)
    self._generator = setup.generator(Stream.IMAGINATION)
    self.metrics = UpdateMetrics('imagined_return', 'policy_entropy', 'policy_gradient_norm')
    self._gradient = execution.gradient_program(self._imagine)
    self._apply = execution.update_program(self._apply_gradient)

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the scale of the returns."""
    if self._return_moments is not None:
      self._return_moments.update(episode_steps.returns(episodes)[:, None])

  def starts(self, experience: Trajectory) -> tf.Tensor:
    """Returns [batch_size, n+1], where sequences begin, reused in turn if there are fewer."""
    size, starts = self._noise_shape[0], experience.observation[:, 0]
    rows = tf.range(size) % tf.shape(starts)[0]
    return tf.ensure_shape(tf.gather(starts, rows), [size, starts.shape[-1]])

  def draw_noise(self) -> tf.Tensor:
    """Draws standard normal noise for the actions of one update, [batch_size, T, m].

    T is H, or k+1 with a critic, whose last action is the critic's own.
    """
    return self._generator.normal(self._noise_shape)

  def update(self, starts: tf.Tensor, noise: tf.Tensor, scale: tf.Tensor | float = 1.0) -> None:
    """Makes one update.

    Args:
      starts: [batch_size, n+1], the states and steps to imagine from.
      noise: of `draw_noise`.
      scale: of the learning rate, and of the new policy's weight in the average, 0 to 1; at 0
        (or where it is no number) there is no update.
    """
    scale = tf.convert_to_tensor(scale, tf.float32)
    tf.cond(scale > 0, lambda: self._apply(self._gradient(starts, noise), scale), lambda: None)

  def policy_gradient(self, world: World, starts: tf.Tensor, noise: tf.Tensor,
                      return_scale: tf.Tensor | float = 1.0,
                      entropy_constant: tf.Tensor | float = 0.0) -> Imagined:
    """Estimates the policy gradient in a world, by default that of the return alone.

    Args:
      world: where the return is imagined.
      starts: [B, n+1], the states and steps to imagine from.
      noise: [B, T, m], standard normal draws.
      return_scale: unit of the returns.
      entropy_constant: weight of the policy's entropy at each step.

    Returns:
      `Imagined`, with the gradients to ascend.
    """
    first_step = tf.cast(starts[:, -1], tf.int32) if self._has_windows else None
    actor = self.actor if first_step is None else ActorFromStep(self.actor, first_step)
    arguments = (world.imagination_from(first_step), world.objective_from(first_step), actor,
                 starts[:, :-1], noise, return_scale, entropy_constant)
    if self._closed_loop_weight:
      return sequential_policy_gradient(*arguments, self._closed_loop_weight)
    return open_loop_policy_gradient(*arguments)

  def _imagine(self, starts, noise):
    critic = self._world.critic
    if critic is not None:
      scale, entropy_constant = critic.units.scale, critic.entropy_constant
    else:
      scale = 1.0 if self._return_moments is None else self._return_moments.std[0]
      entropy_constant = self._step_entropy_constant
    imagined = self.policy_gradient(self._world, starts, noise, scale, entropy_constant)
    return tf.reduce_mean(imagined.returns), imagined.entropy, imagined.gradients

  def _apply_gradient(self, microbatches, scale):
    self._optimizer.learning_rate.assign(self._learning_rate * scale)
    mean_return, entropy, gradients = mean_of(microbatches)
    norm, applied = self._execution.apply_if_finite(
        self._optimizer, [-gradient for gradient in gradients],
        self.actor.trainable_variables, self._clip_norm)
    self._averaged_actor.update(tf.where(applied, scale, 0.0))
    if self._world.critic is not None:
      self._world.critic.tune_entropy_constant(entropy)
    self.metrics.record(applied, imagined_return=mean_return, policy_entropy=entropy,
                        policy_gradient_norm=norm)
