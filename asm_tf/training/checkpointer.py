"""Saving and restoring everything that determines the rest of a run."""

import logging
import os
import pathlib
import re
import shutil

import tensorflow as tf

from asm_tf.atomic_files import write_text
from asm_tf.errors import UserError, one_line
from asm_tf.training.trainer import Trainer
from asm_tf.training.workers import Workers

_LOG = logging.getLogger('asm_tf')
_CHECKPOINTS_KEPT = 2
_NO_POSITION = (-1, -1, -1)  # of a worker without a checkpoint


class Checkpointer:
  """Keeps the last two checkpoints of a run, the older one in case the newer is damaged."""

  def __init__(self, trainer: Trainer, path: pathlib.Path, workers: Workers):
    """Builds the checkpointer.

    Args:
      trainer: tracks all that it needs.
      path: folder of the checkpoints.
      workers: each of them has such a folder.
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
    self._newest: str | None = None  # the name of what was saved or restored last

  def save(self, wall_seconds: float, rows: int) -> None:
    """Saves a checkpoint named after its environment steps, updates and rows, unless it exists.

    It is written to a draft folder and moved once it is complete, under a new name: a kill or a
    full disk leaves the existing checkpoints as they were.

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
      # The index last: without it the checkpoint does not count.
      for part in sorted(draft.glob(f'{written.name}.*'), key=lambda part: part.suffix == '.index'):
        _sync(part)
        os.replace(part, self._path / (name + part.name.removeprefix(written.name)))
    finally:
      shutil.rmtree(draft, ignore_errors=True)
    self._keep_last(name)
    self._newest = name

  def restore(self, rows: int) -> float | None:
    """Restores the newest undamaged checkpoint that all workers have.

    Args:
      rows: of metrics.jsonl that exist; a checkpoint that follows on more is passed over.

    Returns:
      Wall seconds spent so far, or None if there is no checkpoint.

    Raises:
      UserError: if there are checkpoints and none can be resumed, here or by all workers.
    """
    newest = self._restore_newest(rows)
    position = _NO_POSITION if newest is None else _position(newest)
    positions = list(zip(*map(self._workers.all_gather, position), strict=True))
    common = min(positions)
    if max(positions) == _NO_POSITION:  # a new run
      return None
    can_resume = common != _NO_POSITION
    if can_resume and position != common:  # back to what all of them have
      newest = next((name for name in self._names() if _position(name) == common), None)
      can_resume = newest is not None and self._why_not(newest, rows) is None
    if not can_resume:
      steps = [steps for steps, *_ in positions]
      raise UserError(f'the workers can resume from steps {steps} (-1: none), and not all of them '
                      f'from {common[0]}: copy the folder of one over those of the others.')
    self._newest = newest
    return float(self._wall_seconds)

  def _restore_newest(self, rows):
    """Restores the newest undamaged checkpoint and returns its name; None where there is none."""
    problems = []
    for name in self._names():
      problem = self._why_not(name, rows)
      if problem is None:
        for passed_over in problems:
          _LOG.warning('%s; going on from the checkpoint before it.', passed_over)
        return name
      problems.append(problem)
    if problems:
      raise UserError(f'no checkpoint in {self._path} can be resumed ({problems[-1]}): restore '
                      'damaged files from a copy, go back to the code that wrote them (run.json '
                      'has its commit), or give another --root_dir to start afresh; this folder '
                      'is left as it is.')
    return None

  def _why_not(self, name, rows):
    """Restores a checkpoint and returns None, or the reason why it cannot be resumed."""
    try:
      self._checkpoint.read(str(self._path / name)).assert_existing_objects_matched()
    except Exception as error:
      # What TensorFlow raises depends on the byte at which the file is damaged.
      return f'{name} cannot be read: {one_line(error, 200)}'
    if self._rows > rows:
      return f'{name} follows on {int(self._rows)} rows of metrics.jsonl, of which {rows} are left'
    return None

  def _names(self):
    """Names of the checkpoints, the newest first.

    The folder is listed: TensorFlow's own list of checkpoints may be damaged too. Other names
    are copies that somebody has put there.
    """
    return sorted((index.stem for index in self._path.glob('*.index')
                   if re.fullmatch(r'ckpt(-\d+){1,3}', index.stem)), key=_position, reverse=True)

  def _keep_last(self, newest):
    """Deletes all but the newest and the one before it, and lists them as TensorFlow does.

    Later ones were passed over by `restore` and are about to be made again.
    """
    before = [name for name in self._names() if _position(name) < _position(newest)]
    kept = [newest, *before][:_CHECKPOINTS_KEPT]
    for name in set(self._names()) - set(kept):
      for part in sorted(self._path.glob(f'{name}.*'), reverse=True):  # the index first
        part.unlink()
    write_text(self._path / 'checkpoint', f'model_checkpoint_path: "{newest}"\n' + ''.join(
        f'all_model_checkpoint_paths: "{name}"\n' for name in reversed(kept)))


def _position(name):
  """(environment steps, updates, rows) in a checkpoint's name; some have steps only."""
  numbers = [int(part) for part in name.split('-')[1:]]
  return tuple([*numbers, 0, 0][:3])


def _sync(path):
  """Flushes a file to the disk, so that a power failure cannot empty it."""
  with path.open('rb') as file:
    os.fsync(file.fileno())
