"""What the workers of a run on several hosts have to agree on.

Every worker runs the same program on the same seeds: it collects the same episodes, takes
its share of every batch, and keeps a run folder of its own, so that no host depends on the
disk of another. What may differ between them, a signal or the newest whole checkpoint, is
settled here.
"""

import contextlib
import os
import zlib

import tensorflow as tf

from asm_tf.errors import LostWorkers, UserError


class Workers:
  """The workers of a multi-worker strategy; one where there is none."""

  def __init__(self, strategy):
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    self._strategy = strategy if several else None
    self.index = strategy.cluster_resolver.task_id if several else 0

  def folder(self, root_dir):
    """The run folder of this worker: the first one's is the run's own."""
    if self.index == 0:
      return root_dir
    return f'{os.path.abspath(root_dir)}-worker-{self.index}'  # `runs/x/` is `runs/x`

  @contextlib.contextmanager
  def together(self):
    """A context in which a worker that is gone raises `LostWorkers` in the others."""
    try:
      yield
    except tf.errors.OpError as error:
      if self._strategy is None or 'ollective' not in str(error):
        raise
      raise LostWorkers('another worker of this run is gone, or its host can not be reached: '
                        'start all of them again with --resume, and they go on from the newest '
                        'checkpoint that all have.') from error

  def require_same(self, config):
    """Raises `UserError` unless all were given the same configuration, a text."""
    if len(set(self.values(zlib.crc32(config.encode())))) > 1:
      raise UserError('the workers were given different configurations: start all of them with '
                      'the same command.')

  def values(self, value):
    """The integer that each of them gives, as a list; they wait for each other."""
    if self._strategy is None:
      return [value]
    values = self._strategy.run(lambda: tf.constant([value], tf.int64))
    return self._strategy.gather(values, axis=0).numpy().tolist()
