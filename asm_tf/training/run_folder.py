"""A run on disk: its configuration, rows and summary.

    config.gin              what the run was asked to do; a resume must ask the same
    run.json                the command line that asked for it, the code, libraries and machine
    operative_config.gin    every parameter that took effect
    metrics.jsonl           one row an evaluation
    summary.json            the last row, the best score and the versions
    train/ eval/            TensorBoard events
    checkpoints/            what a resume goes on from
    policy/                 the evaluation policy as a SavedModel
    world_model/            the world model, where there is one, as a SavedModel
    lock                    held by the process that trains
"""

import contextlib
import errno
import fcntl
import json
import math
import os
import re
from pathlib import Path

import gin

from asm_tf.atomic_files import write_text
from asm_tf.errors import UserError
from asm_tf.training import exploitation, failed_writes
from asm_tf.training.origin import origin, versions

# A resume may change how long to train.
_EXTENDABLE = ('NUM_ENV_STEPS', 'TrainingLoop.num_env_steps')
# What a run keeps in files, and what in folders.
_FILES = ('run.json', 'operative_config.gin', 'metrics.jsonl', 'summary.json', 'lock')
_FOLDERS = ('train', 'eval', 'checkpoints', 'policy', 'world_model')
# What a killed start may have left.
_LEFTOVERS = re.compile(r'lock|config\.\d+\.part\.gin')


class RunFolder:
  """The folder of one run; it refuses what would lose a result.

  Attributes:
    path: of the folder.
    num_rows: rows of metrics.jsonl, once the run has begun.
  """

  def __init__(self, root_dir: str, resume: bool):
    """Inspects the folder; changes nothing.

    Args:
      root_dir: path of the folder.
      resume: go on with the run in the folder, if there is one.

    Raises:
      UserError: if the folder holds a run that this one would overwrite or does not continue,
        or holds something else, or cannot be read.
    """
    self.path, self.num_rows = Path(root_dir), 0
    self._lock: int | None = None
    self._command_line: dict = {}
    self._config = self.path / 'config.gin'
    self._metrics = self.path / 'metrics.jsonl'
    self._resume = resume
    try:
      self._require_place()
    except OSError as error:
      raise UserError(f'{error.filename or self.path} cannot be read ({error.strerror}): give '
                      'another --root_dir.') from error

  def _require_place(self):
    if self._config.exists():
      if not self._resume:
        raise UserError(f'{self.path} already holds a run: give another --root_dir, '
                        'or --resume to go on with it.')
      require_readable_version(self.path)
      self._check_same_run()
      self._require_kinds()
    elif self.path.exists() and not self.path.is_dir():
      raise UserError(f'{self.path} is a file: give another --root_dir.')
    elif self.path.exists() and not all(
        _LEFTOVERS.fullmatch(path.name) for path in self.path.iterdir()):
      raise UserError(f'{self.path} is not empty and holds no run: give another --root_dir.')

  def _require_kinds(self):
    others = [*(('folder', self.path / name) for name in _FILES if (self.path / name).is_dir()),
              *(('file', self.path / name) for name in _FOLDERS if (self.path / name).is_file())]
    for kind, path in others:
      raise UserError(f'{path} is a {kind}, which no run leaves there: move it away, or give '
                      'another --root_dir.')

  def open(self, command_line: dict | None = None) -> None:
    """Makes the folder and locks it for this process.

    Args:
      command_line: what the command line said, which `begin` keeps in run.json.

    Raises:
      UserError: if it cannot be written, or another process is training in it or has meanwhile.
    """
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      # A file that is open for writing: hosts that share it by NFS see the lock too.
      self._lock = os.open(self.path / 'lock', os.O_RDWR | os.O_CREAT, 0o666)
      fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      self._require_place()  # once more: another process may have been here and gone
      self._command_line = command_line or {}
    except BlockingIOError as error:
      raise self.in_use() from error
    except OSError as error:
      raise failed_writes.cannot_write(error.filename or self.path, error.errno or errno.EIO,
                                       'give a --root_dir that can be written.') from error

  def in_use(self) -> UserError:
    """Returns the error where another process holds the lock."""
    return UserError(f'another process is training in {self.path}: wait for it to end, or give '
                     'another --root_dir.')

  def close(self) -> None:
    """Releases the lock."""
    if self._lock is not None:
      os.close(self._lock)

  def begin(self, env_steps: int | None) -> list[dict]:
    """Prepares to train from a checkpoint, or from the start, and writes config.gin and run.json.

    Rows after the checkpoint are dropped, since they are made again; so is the summary, until
    the run has ended once more.

    Args:
      env_steps: of the checkpoint, or None where there is none.

    Returns:
      The remaining rows.

    Raises:
      UserError: if the run has ended and its checkpoints are gone.
    """
    summary = self.path / 'summary.json'
    if env_steps is None and summary.exists():
      raise UserError(f'{self.path} holds a finished run without its checkpoints, which cannot be '
                      'resumed: give another --root_dir.')
    write_text(self._config, gin.config_str())
    write_text(self.path / 'run.json',
                     json.dumps(self._command_line | origin(), indent=2) + '\n')
    kept = [row for row in self.rows_left()
            if env_steps is not None and row['env_steps'] <= env_steps]
    write_text(self._metrics, ''.join(map(json_line, kept)))
    self.num_rows = len(kept)
    summary.unlink(missing_ok=True)
    return kept

  def rows_left(self) -> list[dict]:
    """Returns the rows of metrics.jsonl before the first, if any, that cannot be read."""
    rows = []
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError, KeyError):
      for line in self._metrics.read_bytes().splitlines(keepends=True):
        row = json.loads(line)
        if not line.endswith(b'\n') or row['env_steps'] < 0:
          break
        rows.append(row)
    return rows

  def _check_same_run(self):
    try:
      before, now = read_config(self.path), _bindings(gin.config_str())
    except (OSError, ValueError) as error:
      raise UserError(
          f'{self._config} cannot be read ({error}): restore it (the same command writes the same '
          'file in another folder), or give another --root_dir.') from error
    for key in sorted(before.keys() | now.keys()):
      if before.get(key) != now.get(key) and key not in _EXTENDABLE:
        raise UserError(
            f'{self.path} holds a run with {key} = {before.get(key, "its default")}, not '
            f'{now.get(key, "its default")}: resume it with its own configuration, or give '
            'another --root_dir.')

  def append_row(self, row: dict) -> None:
    """Adds one evaluation to metrics.jsonl."""
    with failed_writes.naming(self._metrics), self._metrics.open('a', encoding='utf-8') as file:
      file.write(json_line(row))
      file.flush()
      os.fsync(file.fileno())  # before the checkpoint that follows on it
    self.num_rows += 1

  def write_operative_config(self) -> None:
    """Writes every parameter that took effect."""
    write_text(self.path / 'operative_config.gin', gin.operative_config_str())

  def write_summary(self, seed: int) -> dict:
    """Writes summary.json from the rows and returns it."""
    rows = read_rows(self.path)
    scores = [row['normalised_score'] for row in rows if row['normalised_score'] is not None]
    last = rows[-1]
    summary = {
        'normalised_score': last['normalised_score'],
        'best_normalised_score': max(scores, default=None),
        'return': last['return'],
        'imagination_excess': last.get('imagination_excess'),
        'imagination_parted_at': exploitation.parted_at(rows),
        'env_steps': last['env_steps'],
        'wall_seconds': last['wall_seconds'],
        'seed': seed,
        'versions': versions(),
    }
    write_text(self.path / 'summary.json', json.dumps(summary, indent=2) + '\n')
    return summary


def read_rows(path: str | Path) -> list[dict]:
  """Returns the rows of a run's metrics.jsonl, without an incomplete last line."""
  metrics = Path(path) / 'metrics.jsonl'
  if not metrics.exists():
    return []
  lines = metrics.read_text(encoding='utf-8').splitlines(keepends=True)
  return [json.loads(line) for line in lines if line.endswith('\n')]


def read_config(path: str | Path) -> dict[str, str]:
  """Returns {name: value} of a run's config.gin, both as text."""
  return _bindings((Path(path) / 'config.gin').read_text(encoding='utf-8'))


def require_readable_version(path: str | Path) -> None:
  """Raises `UserError` if a run was made before bindings were renamed in version 0.2.0."""
  record = Path(path) / 'run.json'
  # A damaged record says nothing of the version.
  with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
    if 'asm_tf' not in json.loads(record.read_text(encoding='utf-8')).get('versions', {}):
      raise UserError(f'the run in {path} was made by asm_tf 0.1, whose bindings had other names: '
                      'use that version for it, or start a new run (CHANGELOG.md has the names).')


def json_line(row: dict) -> str:
  """Returns a row as a line of JSON, with null for numbers that are not finite."""
  def finite(value):
    if isinstance(value, list):
      return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

  return json.dumps({key: finite(value) for key, value in row.items()}, allow_nan=False) + '\n'


def _bindings(config):
  """{name: value} of the bindings in gin text, long lines joined."""
  bindings, name = {}, None
  for line in config.splitlines():
    if name is not None and line.startswith(' '):  # gin breaks long values over lines
      bindings[name] += ' ' + line.strip()
    elif '=' in line and not line.startswith('#'):
      name, value = (part.strip(' \\') for part in line.split('=', 1))
      bindings[name] = value
  return bindings
