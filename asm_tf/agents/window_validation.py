"""Measures a model of windows on every new episode, before anything learns from it."""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.model_validation import SHARPNESS, skill_score
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.agents.world import World
from asm_tf.gradients.policy_gradient import Actor, roll_out
from asm_tf.models.loss import mask_weights
from asm_tf.models.timed import ActorFromStep
from asm_tf.policies.squashed_gaussian import squash
from asm_tf.random_streams import Stream
from asm_tf.replay import episode_steps

_MEMORY = 1000  # steps
_LARGEST_ERROR = 1e3  # squared spreads; bounded models stay below it


class WindowValidation(tf.Module):
  """Cuts a new episode into windows, predicts them, and imagines in their place.

  With e the squared error of the predicted states and c that of predicting that nothing changes,
  both summed over the last thousand steps or so, the skill of the model is max(1 - e / c, 0)
  (Murphy, 1988), and the trust that follows from it

      q = skill^6.

  It multiplies lambda, the share of the imagined steps in the policy's objective
  (`Critic.lambda_return`): a model that cannot predict contacts leaves the policy to the critic.

  Where the policy exploits what the world gets wrong, it imagines more than it then meets. That
  is measured where a whole window was played, and else is NaN.

  Attributes:
    metrics: `UpdateMetrics` of the last new episode: `model_validation_loss`, the squared error of
      the predicted states in units of their spread; `window_return`, the mean sum of the rewards
      of a window; `imagined_window_return`, what the policy imagines from the same states on;
      `window_return_spread`, the standard deviation of the first; `validation_skill` and
      `model_trust` of the last thousand steps.
  """

  def __init__(self, world: World, actor: Actor, setup: AgentSetup):
    """Builds the observer.

    Args:
      world: whose model and reward are validated.
      actor: the policy that collects, and imagines.
      setup: what the agent is built for.
    """
    super().__init__(name='window_validation')
    self._world, self._actor = world, actor
    begins = tf.range(0, setup.system.horizon, setup.steps)
    self._rows = tf.minimum(
        begins[:, None] + tf.range(setup.steps + 1), setup.system.horizon)  # [windows, k+1]
    self._noise_shape = [self._rows.shape[0], setup.steps, setup.action_spec.shape[0]]
    self._generator = setup.generator(Stream.VALIDATION)
    self._error, self._reference = (
        tf.Variable(0.0, trainable=False, name=name) for name in ('error', 'reference'))
    self.metrics = UpdateMetrics(
        'model_validation_loss', 'window_return', 'imagined_window_return',
        'window_return_spread', 'validation_skill', 'model_trust')
    self._validate = setup.execution.update_program(self._validate_world)

  def observe(self, episodes: Trajectory) -> None:
    """Validates the world on a new episode, a Trajectory [1, H+1, ...]."""
    taken = tf.pad(episode_steps.steps_taken(episodes), [[0, 0], [0, 1]])  # the last row is none
    windows = tf.nest.map_structure(
        lambda x: tf.gather(x[0], self._rows),
        (episodes.observation, episodes.action, episodes.reward, taken))
    self._validate(*windows, self._generator.normal(self._noise_shape))

  def update_scale(self) -> tf.Tensor:
    """Returns the factor of the policy's learning rate, 1: within a window the model is trusted."""
    return tf.ones([])

  def _validate_world(self, observations, actions, rewards, taken, noise):
    states, actions, rewards, taken = (
        observations[..., :-1], actions[:, :-1], rewards[:, :-1], taken[:, :-1])
    start, first_step = states[:, 0], tf.cast(observations[:, 0, -1], tf.int32)
    model = self._world.imagination_from(first_step)
    error, change = (
        tf.reduce_mean(self._world.normalizer.in_state_spreads(predicted - states[:, 1:])**2, -1)
        for predicted in (model(start, actions), start[:, None]))
    skill = self._skill(tf.where(taken, error, 0.0), tf.where(taken, change, 0.0), taken)
    trust = skill**SHARPNESS
    self._world.critic.trust.assign(trust)
    real = tf.reduce_sum(tf.where(taken, rewards, 0.0), 1)
    imagined = self._imagined_returns(model, start, first_step, noise)
    # Only windows that were played to their end have a return to compare with.
    is_whole = tf.reduce_all(taken, 1)
    weights = tf.where(tf.reduce_any(is_whole), mask_weights(is_whole), float('nan'))
    mean = tf.reduce_mean(weights * real)
    self.metrics.record(
        model_validation_loss=tf.reduce_mean(mask_weights(taken) * error), window_return=mean,
        imagined_window_return=tf.reduce_mean(weights * imagined),
        window_return_spread=tf.sqrt(tf.reduce_mean(weights * (real - mean)**2)),
        validation_skill=skill, model_trust=trust)

  def _skill(self, error, change, taken):
    """Of the last thousand steps or so, from the squared errors [windows, k] of a new episode."""
    kept = tf.exp(-tf.reduce_sum(tf.cast(taken, error.dtype)) / _MEMORY)
    # One prediction that is not finite would stay in the sums for ever, a huge one for long.
    error = tf.where(error < _LARGEST_ERROR, error, _LARGEST_ERROR)
    for total, new in ((self._error, error), (self._reference, change)):
      total.assign(kept * total + tf.reduce_sum(new))
    return skill_score(self._error, self._reference)

  def _imagined_returns(self, model, start, first_step, noise):
    actor = ActorFromStep(self._actor, first_step)
    visited = roll_out(model, actor, start, noise)
    actions = squash(*actor(visited, tf.range(noise.shape[1])), noise)
    reward = self._world.reward_from(first_step)
    return tf.reduce_sum(reward(visited, actions, tf.range(noise.shape[1])), 1)
