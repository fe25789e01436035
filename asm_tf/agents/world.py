"""What a policy is improved in."""

import tensorflow as tf

from asm_tf.gradients.policy_gradient import Reward
from asm_tf.models.bounded import BoundedModel
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel


class World(tf.Module):
  """A model of the dynamics, a reward, given or learned, and the scales of the states.

  Attributes:
    model: built `SequenceModel`.
    reward: function (states [B, H, n], actions [B, H, m], t [H]) -> [B, H].
    normalizer: the `Normalizer` that model, reward and policy share.
    imagination: the model, its predictions bounded to the world that was observed where
      `Normalizer.margin` says so; the true dynamics need no bound.
  """

  def __init__(self, model: SequenceModel, reward: Reward, normalizer: Normalizer):
    super().__init__(name='world')
    self.model = model
    self.reward = reward
    self.normalizer = normalizer
    is_learned = bool(model.trainable_variables)
    self.imagination = (
        BoundedModel(model, normalizer) if is_learned and normalizer.bounds_states else model)
