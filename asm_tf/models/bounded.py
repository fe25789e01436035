"""A model whose predictions stay in the world that was observed.

A roll-out of hundreds of steps through a model that is still wrong leaves everything it was
trained on, and may overflow: then its gradient means nothing. Only imagination is bounded;
in training, a prediction out of range must be free to come back.
"""

from collections.abc import Sequence

import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.unrolling import Carry
from asm_tf.models.wrapped import WrappedModel


class BoundedModel(WrappedModel):
  """The predictions of a model, bounded by `Normalizer.bound`."""

  def __init__(self, model: SequenceModel, normalizer: Normalizer):
    """Wraps a built model; one that feeds its predictions back bounds what it feeds back."""
    super().__init__(model, 'bounded')
    self._normalizer = normalizer

  def call(self, initial_state: tf.Tensor, actions: tf.Tensor,
           training: bool = False) -> tf.Tensor:
    return self._normalizer.bound(self._model(initial_state, actions, training=training))

  def predict_teacher_forced(self, states: tf.Tensor, actions: tf.Tensor,
                             training: bool = False) -> tf.Tensor:
    return self._normalizer.bound(self._model.predict_teacher_forced(states, actions, training))

  def step(self, carry: Carry, action: tf.Tensor, t: tf.Tensor) -> tuple[tf.Tensor, Carry]:
    state, carry = self._model.step(carry, action, t)
    return self._normalizer.bound(state), carry

  def step_with_residuals(self, carry: Carry, action: tf.Tensor,
                          t: tf.Tensor) -> tuple[tf.Tensor, Carry, list[tf.Tensor]]:
    state, carry, residuals = self._model.step_with_residuals(carry, action, t)
    return self._normalizer.bound(state), carry, residuals

  def call_with_residuals(self, initial_state: tf.Tensor, actions: tf.Tensor,
                          residuals: Sequence[tf.Tensor]) -> tf.Tensor:
    return self._normalizer.bound(
        self._model.call_with_residuals(initial_state, actions, residuals))
