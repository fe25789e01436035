"""An experiment is a grid of cells; each is run once and its rows are kept for good.

A cell is a dict of plain values that say what is varied: model, horizon, seed. The
folder of an experiment holds

    config.gin           the configuration that all of its cells share
    cells/<cell>.jsonl   the rows of a finished cell

Processes may share a folder: each takes cells that nobody has finished or is running.
"""

import fcntl
import json
import os
import pathlib
import sys
import time

import gin
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from asm_tf.errors import UserError
from asm_tf.training.run_folder import write_atomically


def run_cells(folder, cells, run):
  """Runs the cells that are missing.

  Args:
    folder: path of the experiment's folder.
    cells: list of dicts.
    run: function (cell) -> list of rows, which are dicts.

  Returns:
    The rows of all the finished cells in the order of `cells`, each with the fields
    of its cell; and the number of cells that other processes are still running.

  Raises:
    UserError: if the folder holds the cells of another configuration.
  """
  folder = pathlib.Path(folder)
  try:
    (folder / 'cells').mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'cannot write the folder {folder} ({error.strerror}): give another.'
                    ) from error
  _check_same_configuration(folder / 'config.gin')
  rows, running = [], 0
  for cell in tqdm(cells, unit='cell', dynamic_ncols=True, position=1):
    path = folder / 'cells' / f'{_name(cell)}.jsonl'
    if not path.exists():
      running += not _run_alone(path, cell, run)
    if path.exists():
      rows += [json.loads(line) for line in path.read_text().splitlines()]
  return rows, running


def _run_alone(path, cell, run):
  """Runs a cell unless another process does; returns whether it is finished."""
  lock = os.open(path.with_suffix('.lock'), os.O_RDWR | os.O_CREAT)
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not path.exists():
      began = time.monotonic()
      rows = run(cell)
      stamp = {'wall_seconds': time.monotonic() - began, 'versions': {
          'python': sys.version.split()[0], 'tensorflow': tf.__version__,
          'numpy': np.__version__}}
      write_atomically(path, ''.join(json.dumps(cell | row | stamp) + '\n' for row in rows))
    return True
  except BlockingIOError:
    return False
  finally:
    os.close(lock)


def _check_same_configuration(path):
  now = gin.config_str()
  if path.exists() and path.read_text() != now:
    raise UserError(f'{path.parent} holds results of another configuration (see config.gin in '
                    'it): give another folder.')
  write_atomically(path, now)


def _name(cell):
  return '-'.join(str(value) for value in cell.values())
