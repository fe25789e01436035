"""A run on disk: its configuration, rows and summary.

    config.gin              what the run was asked to do; a resume must ask the same
    operative_config.gin    every parameter that took effect
    metrics.jsonl           one row an evaluation
    summary.json            the last row, the best score and the versions
    train/ eval/            TensorBoard events
    checkpoints/            what a resume goes on from
    policy/                 the evaluation policy as a SavedModel
"""

import json
import os
import sys
from pathlib import Path

import gin
import numpy as np
import tensorflow as tf
import tf_agents
import tf_keras

from asm_tf.errors import UserError

# What a resume may change: how long to train.
_EXTENDABLE = ('NUM_ENV_STEPS', 'train.num_env_steps')


class RunFolder:
  """The folder of one run; it refuses whatever would lose a result."""

  def __init__(self, root_dir, resume):
    """Looks at the folder, without touching it.

    Args:
      root_dir: path of the folder.
      resume: go on with the run in the folder, if there is one.

    Raises:
      UserError: if the folder holds a run that this one would overwrite or is not
        the continuation of, or something else.
    """
    self.path = Path(root_dir)
    self._config = self.path / 'config.gin'
    self._metrics = self.path / 'metrics.jsonl'
    if self._config.exists():
      if not resume:
        raise UserError(f'{self.path} already holds a run: give another --root_dir, '
                        'or --resume to go on with it.')
      self._check_same_run()
    elif self.path.exists() and not self.path.is_dir():
      raise UserError(f'{self.path} is a file: give another --root_dir.')
    elif self.path.exists() and any(self.path.iterdir()):
      raise UserError(f'{self.path} is not empty and holds no run: give another --root_dir.')

  def create(self):
    """Makes the folder and writes config.gin; `UserError` if that is not possible."""
    try:
      self.path.mkdir(parents=True, exist_ok=True)
      write_atomically(self._config, gin.config_str())
    except OSError as error:
      raise UserError(f'cannot write the run folder {self.path} ({error.strerror}): '
                      'give a --root_dir that can be written.') from error

  def _check_same_run(self):
    before, now = (_bindings(text) for text in (self._config.read_text(), gin.config_str()))
    for key in sorted(before.keys() | now.keys()):
      if before.get(key) != now.get(key) and key not in _EXTENDABLE:
        raise UserError(
            f'{self.path} holds a run with {key} = {before.get(key, "its default")}, not '
            f'{now.get(key, "its default")}: resume it with its own configuration, or give '
            'another --root_dir.')

  def rows(self):
    """The rows of metrics.jsonl, in order; a torn last line is left out."""
    if not self._metrics.exists():
      return []
    lines = self._metrics.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith('\n')]

  def truncate_rows(self, env_steps):
    """Drops the rows after `env_steps`: a resume makes them again."""
    kept = [row for row in self.rows() if row['env_steps'] <= env_steps]
    write_atomically(self._metrics, ''.join(json.dumps(row) + '\n' for row in kept))

  def append_row(self, row):
    """Adds one evaluation to metrics.jsonl."""
    with self._metrics.open('a') as file:
      file.write(json.dumps(row) + '\n')

  def write_operative_config(self):
    write_atomically(self.path / 'operative_config.gin', gin.operative_config_str())

  def write_summary(self, seed):
    """Writes summary.json from the rows and returns it."""
    rows = self.rows()
    scores = [row['normalised_score'] for row in rows if row['normalised_score'] is not None]
    last = rows[-1]
    summary = {
        'normalised_score': last['normalised_score'],
        'best_normalised_score': max(scores, default=None),
        'return': last['return'],
        'env_steps': last['env_steps'],
        'wall_seconds': last['wall_seconds'],
        'seed': seed,
        'versions': {
            'python': sys.version.split()[0], 'tensorflow': tf.__version__,
            'tf_keras': tf_keras.__version__, 'tf_agents': tf_agents.__version__,
            'numpy': np.__version__},
    }
    write_atomically(self.path / 'summary.json', json.dumps(summary, indent=2) + '\n')
    return summary


def write_atomically(path, text):
  """Writes a file whole or not at all, also when the process is killed."""
  path = Path(path)
  draft = path.with_name(path.name + '.tmp')
  with draft.open('w') as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(draft, path)


def _bindings(config):
  """{name: value} of the bindings in gin text, long lines joined."""
  joined = config.replace('\\\n', ' ')
  bindings = {}
  for line in joined.splitlines():
    if '=' in line and not line.startswith('#'):
      name, value = line.split('=', 1)
      bindings[name.strip()] = ' '.join(value.split())
  return bindings
