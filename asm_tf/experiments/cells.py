"""An experiment is a grid of cells; each is run once and its rows are kept for good.

A cell is a dict of plain values that say what is varied: model, horizon, seed. The
folder of an experiment holds

    config.gin           the configuration that all of its cells share
    cells/<cell>.jsonl   the rows of a finished cell

Processes may share a folder: each takes cells that nobody has finished or is running,
then waits for those that are.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator

import gin
from tqdm import tqdm

from asm_tf.atomic_files import write_text
from asm_tf.errors import UserError
from asm_tf.training.origin import command, versions
from asm_tf.training.run_folder import json_line


def run_cells(folder: str | pathlib.Path, cells: list[dict],
              run: Callable[[dict], list[dict]]) -> list[dict]:
  """Runs the cells that are missing.

  Args:
    folder: path of the experiment's folder.
    cells: list of dicts.
    run: function (cell) -> list of rows, which are dicts.

  Returns:
    The rows of all the cells in their order, each with the fields of its cell.

  Raises:
    UserError: if the folder cannot be written or holds the cells of another
      configuration.
  """
  folder = pathlib.Path(folder)
  try:
    (folder / 'cells').mkdir(parents=True, exist_ok=True)
    with locked(folder / 'config.lock'):
      _check_same_configuration(folder / 'config.gin')
  except OSError as error:
    raise UserError(f'cannot write {error.filename or folder} ({error.strerror}): give another '
                    'folder.') from error
  paths = [folder / 'cells' / f'{_name(cell)}.jsonl' for cell in cells]
  with tqdm(total=len(cells), unit='cell', dynamic_ncols=True, position=1) as bar:
    # First what no other process is at; then wait for the rest, or do it if they died.
    for wait in (False, True):
      for cell, path in zip(cells, paths, strict=True):
        if not path.exists():
          with locked(path.with_suffix('.lock'), wait) as mine:
            if mine and not path.exists():
              _run_cell(path, cell, run)
        bar.update(sum(path.exists() for path in paths) - bar.n)
  return [row for path in paths for row in _rows(path)]


def _rows(path):
  try:
    return [dict(json.loads(line)) for line in path.read_text(encoding='utf-8').splitlines()]
  except (OSError, TypeError, ValueError) as error:
    raise UserError(f'{path} cannot be read ({error}): remove it, and the same command makes it '
                    'again.') from error


def _run_cell(path, cell, run):
  began = time.monotonic()
  rows = run(cell)
  stamp = {'wall_seconds': time.monotonic() - began, 'command': command(), 'versions': versions()}
  try:
    write_text(path, ''.join(json_line(cell | row | stamp) for row in rows))
  except OSError as error:
    raise UserError(f'cannot write {path} ({error.strerror}): mend that; the same command runs '
                    'this cell again.') from error


@contextlib.contextmanager
def locked(path: pathlib.Path, wait: bool = True) -> Iterator[bool]:
  """Holds a lock; yields False, without it, if another process has it and `wait` is False."""
  lock = os.open(path, os.O_RDWR | os.O_CREAT)
  try:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
      mine = True
    except BlockingIOError:
      mine = False
    yield mine
  finally:
    os.close(lock)


def is_locked(path: pathlib.Path) -> bool:
  """Returns whether a process holds the lock, by reading; False where that is not known."""
  try:
    lock = os.open(path, os.O_RDONLY)
  except OSError:  # there is none, or it is somebody else's
    return False
  try:
    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return False
  except BlockingIOError:
    return True
  finally:
    os.close(lock)


def _check_same_configuration(path):
  now = gin.config_str()
  if not path.exists():
    write_text(path, now)
  elif path.read_bytes() != now.encode():
    raise UserError(f'{path.parent} holds results of another configuration (see config.gin in '
                    'it): give another folder.')


def _name(cell):
  return '-'.join(str(value) for value in cell.values())
