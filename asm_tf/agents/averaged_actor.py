"""The average of the policies that training goes through (Polyak and Juditsky, 1992).

A policy follows its model's gradient into states that the model has not seen, falls there, and
comes back once it has seen them. The average of the last policies stays where it is meanwhile.
"""

from collections.abc import Callable

import tensorflow as tf

from asm_tf.errors import require_share
from asm_tf.gradients.policy_gradient import Actor


class AveragedActor(tf.Module):
  """An actor that is trained and explores, and one with the exponential average of its weights.

  Attributes:
    trained: the actor whose weights an optimiser changes.
    average: the actor that is evaluated and saved.
  """

  def __init__(self, make_actor: Callable[[], Actor], rate: float = 0.02):
    """Builds both.

    Args:
      make_actor: builds one actor.
      rate: weight of the newest policy in the average, above 0, where its trust is 1; at 1 the
        average is the newest then.

    Raises:
      UserError: for another rate.
    """
    super().__init__(name='averaged_actor')
    require_share(**{'AveragedActor.rate': rate})
    self.trained, self.average = make_actor(), make_actor()
    self._rate = rate
    self._total_weight = tf.Variable(0.0, trainable=False, name='total_weight')
    for average, trained in self._pairs():
      average.assign(trained)

  def update(self, trust: tf.Tensor | float = 1.0) -> None:
    """Takes the trained weights into the average, with a weight in proportion to a trust 0 to 1."""
    weight = self._rate * trust
    self._total_weight.assign_add(weight * (1 - self._total_weight))
    step = tf.math.divide_no_nan(weight, self._total_weight)  # 1 at first
    for average, trained in self._pairs():
      share = tf.cast(step, trained.dtype)
      average.assign((1 - share) * average + share * trained)

  def _pairs(self):
    return zip(self.average.trainable_variables, self.trained.trainable_variables, strict=True)
