"""What the workers of a run on several hosts have to agree on.

Every worker runs the same program with the same seeds: it collects the same episodes, takes
its shard of every batch, and keeps a run folder of its own, so that no host depends on the
disk of another. What may differ between them, a signal or the newest undamaged checkpoint, is
settled here.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator

import tensorflow as tf

from asm_tf.errors import LostWorkers, UserError


class Workers:
  """The workers of a multi-worker strategy, or the only process.

  Attributes:
    index: of this worker.
  """

  def __init__(self, strategy: tf.distribute.Strategy | None):
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    self._strategy = strategy if several else None
    self.index = self._strategy.cluster_resolver.task_id if self._strategy else 0

  def folder(self, root_dir: str) -> str:
    """Returns the run folder of this worker: that of the first is the run's own."""
    if self.index == 0:
      return root_dir
    return f'{os.path.abspath(root_dir)}-worker-{self.index}'  # `runs/x/` is `runs/x`

  @contextlib.contextmanager
  def watching_peers(self) -> Iterator[None]:
    """A context in which a lost worker raises `LostWorkers` in the others."""
    try:
      yield
    except tf.errors.OpError as error:
      if self._strategy is None or 'ollective' not in str(error):
        raise
      raise LostWorkers('another worker of this run is gone, or its host can not be reached: '
                        'start all of them again with --resume, and they go on from the newest '
                        'checkpoint that all have.') from error

  def require_same(self, config: str) -> None:
    """Raises `UserError` unless all were given the same configuration, a text."""
    if len(set(self.all_gather(zlib.crc32(config.encode())))) > 1:
      raise UserError('the workers were given different configurations: start all of them with '
                      'the same command.')

  def all_gather(self, value: int) -> list[int]:
    """Returns the integers that the workers give; they wait for each other."""
    if self._strategy is None:
      return [value]
    values = self._strategy.run(lambda: tf.constant([value], tf.int64))
    return self._strategy.gather(values, axis=0).numpy().tolist()
