"""Saving and restoring everything that shapes the future of a run."""

import logging
import os
import pathlib
import shutil

import tensorflow as tf

from asm_tf.errors import UserError
from asm_tf.training.run_folder import write_atomically

_LOG = logging.getLogger('asm_tf')
_KEPT = 2
_NONE = (-1, -1, -1)  # the position of no checkpoint


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
    self._rows = tf.Variable(0, dtype=tf.int64, trainable=False)
    environment = tf.train.Checkpoint(**trainer.env.checkpoint_items())
    self._checkpoint = tf.train.Checkpoint(
        trainer=trainer, environment=environment, wall_seconds=self._wall_seconds,
        rows=self._rows)
    self._trainer = trainer
    self._path = pathlib.Path(path)
    self._newest = None  # the name of what was saved or restored last

  def save(self, wall_seconds, rows):
    """Saves a checkpoint named after its environment steps, updates and rows, unless it is there.

    It is written aside and moved to its place when it is whole, under a name that is new, so
    that a kill or a full disk leaves those that are there as they were.

    Args:
      wall_seconds: spent so far.
      rows: of metrics.jsonl so far; a resume needs as many, since it cannot make them again.
    """
    name = f'ckpt-{self._trainer.env_steps}-{self._trainer.updates}-{rows}'
    if name == self._newest:
      return
    self._wall_seconds.assign(wall_seconds)
    self._rows.assign(rows)
    draft = self._path / 'draft'
    shutil.rmtree(draft, ignore_errors=True)  # of a save that was killed
    try:
      written = pathlib.Path(self._checkpoint.write(str(draft / 'ckpt')))
      # The index last: without it the checkpoint is not there.
      for part in sorted(draft.glob(f'{written.name}.*'), key=lambda part: part.suffix == '.index'):
        _sync(part)
        os.replace(part, self._path / (name + part.name.removeprefix(written.name)))
    finally:
      shutil.rmtree(draft, ignore_errors=True)
    self._keep_last(name)
    self._newest = name

  def restore(self, rows):
    """Restores the newest whole checkpoint that all workers have.

    Args:
      rows: of metrics.jsonl that there are; a checkpoint that knows of more is passed over.

    Returns:
      Wall seconds spent so far, or None if there is no checkpoint.

    Raises:
      UserError: if there are checkpoints and none can be gone on from, here or by all workers.
    """
    names, problem = self._names(), None
    for name in names:
      problem = self._why_not(name, rows)
      if problem is None:
        break
      _LOG.warning('%s; trying the checkpoint before it.', problem)
    if problem:
      raise UserError(f'no checkpoint in {self._path} can be gone on from ({problem}): put back '
                      'what is damaged from a copy, or give another --root_dir to start afresh; '
                      'this one is left as it is.')
    newest = _position(name) if names else _NONE
    positions = list(zip(*map(self._workers.values, newest)))
    common = min(positions)
    if newest != common:  # this worker has to go back to what all of them have
      name = next((name for name in names if _position(name) == common), None)
      problem = name is None or self._why_not(name, rows)
    if problem or common == _NONE != max(positions):
      steps = [position[0] for position in positions]
      raise UserError(f'the workers can go on from steps {steps} (-1: none), and not all from '
                      f'{common[0]}: copy the folder of one of them over those of the others.')
    self._newest = name if names else None
    return float(self._wall_seconds) if names else None

  def _why_not(self, name, rows):
    """None if the checkpoint can be gone on from, and everything is as it says; or the reason."""
    try:
      self._checkpoint.read(str(self._path / name)).assert_existing_objects_matched()
    except Exception as error:  # pylint: disable=broad-except
      # What TensorFlow raises depends on the byte at which the file is torn.
      cause = str(error).split('\n', maxsplit=1)[0][:200]
      return f'{name} cannot be read: {cause}'
    if self._rows > rows:
      return (f'{name} follows on {int(self._rows)} rows of metrics.jsonl, of which {rows} are '
              'left')
    return None

  def _names(self):
    """Names of the checkpoints, the newest first.

    The files themselves are asked, not the list of them, which may be torn too.
    """
    return sorted((index.stem for index in self._path.glob('ckpt-*.index')), key=_position,
                  reverse=True)

  def _keep_last(self, newest):
    """Deletes all but the newest and those before it; lists them as TensorFlow does.

    Later ones were passed over by `restore`, and are about to be made again.
    """
    before = [name for name in self._names() if _position(name) < _position(newest)]
    kept = [newest, *before][:_KEPT]
    for name in set(self._names()) - set(kept):
      for part in sorted(self._path.glob(f'{name}.*'), reverse=True):  # the index first
        part.unlink()
    write_atomically(self._path / 'checkpoint', f'model_checkpoint_path: "{newest}"\n' + ''.join(
        f'all_model_checkpoint_paths: "{name}"\n' for name in reversed(kept)))


def _position(name):
  """(environment steps, updates, rows) in a checkpoint's name; older names have steps alone."""
  steps, updates, rows, *_ = (*map(int, name.split('-')[1:]), 0, 0)
  return steps, updates, rows


def _sync(path):
  """Waits until a file is on the disk, so that a power failure cannot empty it."""
  with path.open('rb') as file:
    os.fsync(file.fileno())
