"""A TensorBoard profile of a few iterations."""

import pathlib

import tensorflow as tf

from asm_tf.training.trainer import Trainer

_ITERATIONS = 3


class Profiler:
  """Iterates a trainer and, where asked to, traces the first ones after everything is
  compiled."""

  def __init__(self, trainer: Trainer, folder: pathlib.Path, enabled: bool):
    self._trainer, self._folder = trainer, str(folder)
    self._left = _ITERATIONS if enabled else 0
    self._tracing = False

  def iterate(self) -> None:
    """See `Trainer.iterate`."""
    if self._left == 0 or self._trainer.updates == 0:
      self._trainer.iterate()
      return
    if not self._tracing:
      tf.profiler.experimental.start(self._folder)
      self._tracing = True
    self._trainer.iterate()
    self._left -= 1
    if self._left == 0:
      self.close()

  def close(self) -> None:
    """Writes the profile, of fewer iterations where the run was stopped among them."""
    if self._tracing:
      self._tracing = False
      tf.profiler.experimental.stop()
