"""What models share that change the inputs or the outputs of another."""

import tensorflow as tf

from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.unrolling import Carry


class WrappedModel(SequenceModel):
  """Hands on what has nothing to do with inputs and outputs."""

  def __init__(self, model: SequenceModel, name: str):
    """Wraps a built model."""
    super().__init__(name=name, dtype=model.dtype)
    self.residual_sizes = model.residual_sizes
    self._model = model

  def start(self, initial_state: tf.Tensor, horizon: int) -> Carry:
    return self._model.start(initial_state, horizon)

  def grow_cache(self, carry: Carry, steps: int) -> Carry:
    return self._model.grow_cache(carry, steps)

  def microbatch_size(self, horizon: int) -> int | None:
    return self._model.microbatch_size(horizon)

  def cache_block(self, horizon: int) -> int:
    return self._model.cache_block(horizon)
