"""What a policy is improved in."""

import tensorflow as tf

from asm_tf.gradients.policy_gradient import Reward
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel


class World(tf.Module):
  """A model of the dynamics, a reward, given or learned, and the scales of the states.

  Attributes:
    model: built `SequenceModel`.
    reward: function (states [B, H, n], actions [B, H, m], t [H]) -> [B, H].
    normalizer: the `Normalizer` that model, reward and policy share.
  """

  def __init__(self, model: SequenceModel, reward: Reward, normalizer: Normalizer):
    super().__init__(name='world')
    self.model = model
    self.reward = reward
    self.normalizer = normalizer
