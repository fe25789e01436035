"""What a policy is improved in."""

import tensorflow as tf

from asm_tf.agents.critic import Critic
from asm_tf.gradients.policy_gradient import Reward
from asm_tf.models.bounded import BoundedModel
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.timed import TimedModel, steps_from
from asm_tf.models.true_dynamics import TrueDynamics


class World(tf.Module):
  """A model of the dynamics, a reward, given or learned, and the scales of the states.

  Attributes:
    model: built `SequenceModel`.
    reward: function (states [B, H, n], actions [B, H, m], t [H]) -> [B, H].
    normalizer: the `Normalizer` that model, reward and policy share.
    critic: what comes after imagined windows, None where imagination goes on to step H.
    imagination: the model, its predictions bounded to the world that was observed where
      `Normalizer.margin` says so; the true dynamics need no bound.
  """

  def __init__(self, model: SequenceModel, reward: Reward, normalizer: Normalizer,
               critic: Critic | None = None):
    super().__init__(name='world')
    self.model = model
    self.reward = reward
    self.normalizer = normalizer
    self.critic = critic
    is_learned = bool(model.trainable_variables)
    self.imagination = (
        BoundedModel(model, normalizer) if is_learned and normalizer.margin is not None else model)

  def model_from(self, first_step: tf.Tensor | None) -> SequenceModel:
    """Returns the model of sequences from step t_0 [B] on; None for 0."""
    return self._from(self.model, first_step)

  def imagination_from(self, first_step: tf.Tensor | None) -> SequenceModel:
    """Returns the imagination from step t_0 [B] on; None for 0."""
    return self._from(self.imagination, first_step)

  def objective_from(self, first_step: tf.Tensor | None) -> Reward:
    """Returns what is summed from step t_0 [B] on: rewards or, with a critic, its lambda-return."""
    reward = self.reward if self.critic is None else self.critic.lambda_return(self.reward)
    return _reward_from(reward, first_step)

  def reward_from(self, first_step: tf.Tensor | None) -> Reward:
    """Returns the reward from step t_0 [B] on; None for 0."""
    return _reward_from(self.reward, first_step)

  def _from(self, model, first_step):
    if first_step is None:
      return model
    if isinstance(model, TrueDynamics):
      return model.starting_at(first_step)
    return TimedModel(model, self.normalizer, first_step) if self.normalizer.time_size else model


def _reward_from(reward, first_step):
  if first_step is None:
    return reward
  return lambda states, actions, t: reward(states, actions, steps_from(first_step, t))
