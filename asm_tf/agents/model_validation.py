"""Validates a world model on episodes that it has not seen, and slows a policy that is ahead of it.

Every new episode is predicted before anything learns from it (prequential validation: Dawid,
1984), and beside it the episode before, which the model has been trained on since. Where the
model does much worse on the new one, the policy has found actions whose effects the model only
guesses: its gradient there soon points anywhere, and the policy must wait for more episodes.
"""

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.agents.world import World
from asm_tf.gradients.policy_gradient import returns_of
from asm_tf.models.loss import mask_weights
from asm_tf.models.running_moments import RunningMoments
from asm_tf.replay import episode_steps

SHARPNESS = 6  # at a tenth less skill on new episodes the policy learns at half its rate


def skill_score(error: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
  """Returns max(1 - error / reference, 0): 0 where there was nothing to predict (reference 0).

  An error that is no number is no skill either.
  """
  return tf.where(error < reference, tf.math.divide_no_nan(reference - error, reference), 0.0)


class ModelValidation(tf.Module):
  """Measures the skill of the model on new episodes, and the trust that follows from it.

  With e_t the squared error of the predicted s_t and c_t the variance of s_t over the episodes so
  far (one that ended early counts with its last state), which is the error of predicting their
  mean, the skill of a model on an episode is the mean of max(1 - e_t / c_t, 0) over t (a skill
  score with climatology as its reference: Murphy, 1988). It is about the share of the horizon that
  the model can predict. From the skill k on the last episode and k' on the new one follows the
  trust

      q = k min(k' / k, 1)^6,

  by which the policy's learning rate is multiplied until the next episode. A chaotic system, which
  no model predicts to its end, lowers both skills alike and is learned at a lower rate. A model
  that has seen too few episodes to predict another nearly stops the policy.

  Attributes:
    trust: q, a scalar.
    metrics: `UpdateMetrics` of the last new episode: `model_validation_loss`, the mean of e_t in
      units of the states' spread; `return_validation_error`, the error of the predicted return in
      units of the returns' spread; `training_skill` k, `validation_skill` k', `model_trust` q;
      `return_spread`, the standard deviation of the returns of all episodes before.
  """

  def __init__(self, world: World, setup: AgentSetup, scale_updates: bool = True):
    """Builds the observer.

    Args:
      world: whose model is validated.
      setup: what the agent is built for.
      scale_updates: True multiplies the policy's learning rate by the trust; False only measures.
    """
    super().__init__(name='model_validation')
    self._world = world
    self._scale_updates = scale_updates
    horizon, n, m = setup.system.horizon, setup.system.state_size, setup.action_spec.shape[0]
    with setup.execution.creating_variables():
      self._moments = RunningMoments(horizon * n, name='moments_of_steps')
      self._returns = RunningMoments(1, name='returns')
      self.trust = tf.Variable(0.0, trainable=False, name='trust')
      self._last = [tf.Variable(tf.zeros(shape), trainable=False, name='last')
                    for shape in ([1, horizon + 1, n], [1, horizon, m], [1, horizon])]
    self.metrics = UpdateMetrics(
        'model_validation_loss', 'return_validation_error', 'training_skill', 'validation_skill',
        'model_trust', 'return_spread')
    self._validate = setup.execution.update_program(self._validate_model)

  def observe(self, episodes: Trajectory) -> None:
    """Validates the model on new episodes, a Trajectory [B, H+1, ...]."""
    weights = mask_weights(episode_steps.steps_taken(episodes))
    self._validate([episodes.observation[..., :-1], episodes.action[:, :-1], weights],
                   episode_steps.returns(episodes))

  def update_scale(self) -> tf.Tensor:
    """Returns the factor of the policy's learning rate, a scalar from 0 to 1."""
    return tf.convert_to_tensor(self.trust) if self._scale_updates else tf.ones([])

  def _validate_model(self, new, returns):
    states, actions, weights = (tf.concat(pair, 0) for pair in zip(self._last, new, strict=True))
    start, true = states[:, 0], states[:, 1:]
    in_spreads = self._world.normalizer.in_state_spreads
    predicted = self._world.imagination(start, actions)
    error = tf.reduce_mean(in_spreads(predicted - true)**2, -1)  # [1 + B, H]
    error = tf.where(weights > 0, error, 0.0)
    spread = tf.reshape(self._moments.spread, true.shape[1:])
    reference = tf.reduce_mean(in_spreads(spread)**2, -1)  # [H]
    skill = tf.reduce_mean(weights * skill_score(error, reference), 1)  # [1 + B]
    trained, unseen = skill[0], tf.reduce_mean(skill[1:])
    trust = trained * tf.minimum(tf.math.divide_no_nan(unseen, trained), 1.0)**SHARPNESS
    self.trust.assign(trust)
    return_error = returns_of(self._world.reward, start, predicted, actions)[1:] - returns
    self.metrics.record(
        model_validation_loss=tf.reduce_mean((weights * error)[1:]),
        return_validation_error=tf.reduce_mean(tf.abs(return_error)) / self._returns.std[0],
        training_skill=trained, validation_skill=unseen, model_trust=trust,
        return_spread=self._returns.spread[0])
    self._returns.update(returns[:, None])
    self._moments.update(tf.reshape(true[1:], [-1, spread.shape.num_elements()]))
    for variable, value in zip(self._last, new, strict=True):
      variable.assign(value[-1:])
