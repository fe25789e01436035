"""Saving and restoring everything that shapes the future of a run."""

import logging
import pathlib

import tensorflow as tf

from asm_tf.errors import UserError

_LOG = logging.getLogger('asm_tf')
_KEPT = 2


class Checkpointer:
  """The last two checkpoints of a run, the older one in case the newer is torn."""

  def __init__(self, trainer, path, workers):
    """Builds the checkpointer.

    Args:
      trainer: `Trainer`, a tf.Module that tracks all it needs.
      path: folder of the checkpoints.
      workers: `Workers`, each of which has such a folder.
    """
    self._workers = workers
    self._wall_seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
    environment = tf.train.Checkpoint(**trainer.env.checkpoint_items())
    self._checkpoint = tf.train.Checkpoint(
        trainer=trainer, environment=environment, wall_seconds=self._wall_seconds)
    self._trainer = trainer
    self._manager = tf.train.CheckpointManager(self._checkpoint, str(path), max_to_keep=_KEPT)

  def save(self, wall_seconds):
    """Saves a checkpoint under the current number of environment steps."""
    self._wall_seconds.assign(wall_seconds)
    self._manager.save(checkpoint_number=self._trainer.env_steps)

  def restore(self):
    """Restores the newest whole checkpoint that all workers have.

    Returns:
      Wall seconds spent so far, or None if there is no checkpoint.

    Raises:
      UserError: if there are checkpoints and none can be read, here or by all workers.
    """
    # The files themselves are asked, not the list of them, which may be torn too.
    indices = pathlib.Path(self._manager.directory).glob('ckpt-*.index')
    paths = {int(index.stem.rsplit('-', 1)[1]): str(index.with_suffix('')) for index in indices}
    newest = next((step for step in sorted(paths, reverse=True) if self._read(paths[step])), None)
    if paths and newest is None:
      raise UserError(f'no checkpoint in {self._manager.directory} can be read: give another '
                      '--root_dir to start afresh; this one is left as it is.')
    steps = self._workers.values(-1 if newest is None else newest)
    common = min(steps)
    if common != max(steps) and not (common in paths and self._read(paths[common])):
      raise UserError(
          f'the workers have checkpoints of the steps {steps} (-1: none), and '
          f'{self._manager.directory} none of step {common}: copy the folder of one run over '
          'the others.')
    return None if newest is None else float(self._wall_seconds)

  def _read(self, path):
    """True if the checkpoint is whole; everything is as it says then."""
    try:
      self._checkpoint.read(path).assert_existing_objects_matched()
      return True
    except Exception as error:  # pylint: disable=broad-except
      # What TensorFlow raises depends on the byte at which the file is torn.
      _LOG.warning('checkpoint %s cannot be read (%s); trying the one before it.',
                   path, str(error).split('\n', maxsplit=1)[0][:200])
      return False
