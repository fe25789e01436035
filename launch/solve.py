"""Computes the ends of the normalised score: the optimum and the random policy's return.

    python -m launch.solve --system=CancerTreatment --horizon=20,50
    python -m launch.solve --system=all --horizon=20,50,100,200,500 --save
    python -m launch.solve --show
"""

import importlib.metadata
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from asm_tf.environments import scores
from asm_tf.errors import UserError
from asm_tf.experiments.cells import locked
from asm_tf.optimal_control import optimum as optimal_control
from asm_tf.optimal_control.objective import rolled_out_return
from asm_tf.optimal_control.optimum import Optimum
from asm_tf.optimal_control.random_policy import random_return
from asm_tf.systems.registry import MYRIAD, SYSTEMS
from asm_tf.systems.system import System
from asm_tf.training import origin
from launch import command_line


def define_flags() -> None:
  flags.DEFINE_string(
      'system', 'all', 'Name of a system, or `all` for the eight Myriad systems.')
  flags.DEFINE_list('horizon', ['20'], 'Steps H, one or several with commas between.')
  flags.DEFINE_bool(
      'save', False, f'Write each result to {scores.TABLE.name} in the package as it is '
      'found; a better optimum that is stored already stays.')
  flags.DEFINE_bool(
      'show', False, 'Print the stored table as JSON, without the action sequences, and stop.')


def main() -> None:
  given = flags.FLAGS
  if given.show:
    print(json.dumps(without_actions(scores.read_table()), indent=1))
    return
  run(_names(given.system), _horizons(given.horizon), given.save)


def run(names: Sequence[str], horizons: Sequence[int], save: bool) -> None:
  """Solves and prints every name at every horizon, the shorter horizons first."""
  if save:
    command_line.require_writable('save', scores.TABLE)
  solved = {name: dict(rows) for name, rows in scores.read_table().items()}
  cells = tqdm([(name, horizon) for name in names for horizon in horizons],
               desc='solving', unit='system', disable=not sys.stderr.isatty())
  for name, horizon in cells:
    cells.set_postfix_str(f'{name} H={horizon}')
    system = SYSTEMS[name](horizon, dtype=tf.float64)
    row = solve_cell(system, _shorter(solved.get(name, {}), horizon))
    rows = solved.setdefault(name, {})
    rows[str(horizon)] = better_of(rows.get(str(horizon)), row)
    tqdm.write(_describe(name, horizon, row), file=sys.stdout)
    if save:
      save_row(scores.TABLE, name, horizon, row)


def solve_cell(system: System, warm_start: np.ndarray | None) -> dict:
  """One row of the table: the optimum (from a shorter horizon's actions) and the random mean."""
  best = optimal_control.solve(system, warm_start)
  mean, error = random_return(system)
  actions, value = rounded(system, best)
  row = {'random': mean, 'random_se': error, 'optimal': value, 'method': best.method}
  if best.robust is not None:
    row['robust_optimal'] = best.robust
  return row | {'actions': actions.tolist()}


def rounded(system: System, best: Optimum) -> tuple[np.ndarray, float]:
  """The actions with the fewest decimals that keep the return to 1e-10, and that return."""
  for decimals in (6, 9, 12, 15):
    actions = np.round(best.actions, decimals)
    value = rolled_out_return(system, actions)
    if value >= best.value - 1e-10 * max(1, abs(best.value)):
      return actions, value
  return best.actions, best.value


def save_row(path: pathlib.Path, name: str, horizon: int, row: dict) -> None:
  """Puts `better_of` the stored row and this one into the table, which is written in one step."""
  row = row | {'command': origin.command(), 'versions': _versions()}
  # Another command may be saving another row. The lock is none of the package's files.
  with locked(pathlib.Path(tempfile.gettempdir(), f'asm_tf-{os.getuid()}-{path.name}.lock')):
    table = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {'systems': {}}
    rows = table['systems'].setdefault(name, {})
    rows[str(horizon)] = better_of(rows.get(str(horizon)), row)
    command_line.write_text(path, _as_json(table))


def better_of(stored: dict | None, row: dict) -> dict:
  """Returns the row with the higher optimum, the stored one if equal, with the new random mean."""
  if stored is None or stored['optimal'] < row['optimal']:
    return row
  return stored | {key: row[key] for key in ('random', 'random_se')}


def without_actions(systems: dict) -> dict:
  """The table without its actions."""
  return {name: {horizon: {key: value for key, value in row.items() if key != 'actions'}
                 for horizon, row in rows.items()} for name, rows in systems.items()}


def _versions():
  return origin.versions() | {
      name: importlib.metadata.version(name) for name in ('scipy', 'casadi')}


def _as_json(table):
  """JSON with one line for each system and horizon.

  The command and versions above all rows are those of the rows that have none of their own.
  """
  head = [f' "{key}": {json.dumps(value)}' for key, value in table.items() if key != 'systems']
  blocks = []
  for name, rows in table['systems'].items():
    lines = [f'   "{horizon}": {json.dumps(rows[horizon])}' for horizon in sorted(rows, key=int)]
    blocks.append(f'  "{name}": {{\n' + ',\n'.join(lines) + '\n  }')
  body = ' "systems": {\n' + ',\n'.join(blocks) + '\n }'
  return '{\n' + ',\n'.join([*head, body]) + '\n}\n'


def _describe(name, horizon, row):
  robust = row.get('robust_optimal')
  return (f'{name} H={horizon}: optimal {row["optimal"]:.6f}'
          + (f' (by gradient ascent alone {robust:.6f})' if robust is not None else '')
          + f', random {row["random"]:.4f} +- {row["random_se"]:.4f} [{row["method"]}]')


def _shorter(rows, horizon):
  """The actions of the next shorter horizon that is solved, or None."""
  shorter = [int(h) for h in rows if int(h) < horizon]
  return rows[str(max(shorter))]['actions'] if shorter else None


def _names(name):
  if name == 'all':
    return [system.__name__ for system in MYRIAD]
  if name not in SYSTEMS:
    raise UserError(f'--system={name} is unknown: choose all or one of {", ".join(SYSTEMS)}.')
  return [name]


def _horizons(values):
  try:
    horizons = sorted({int(value) for value in values})
  except ValueError:
    horizons = []
  if not horizons or horizons[0] < 2:
    raise UserError(f'--horizon={",".join(values)} is not understood: give whole numbers of '
                    'steps, at least 2, with commas between, such as 20,50.')
  return horizons


def entry_point() -> None:
  define_flags()
  command_line.run(main)


if __name__ == '__main__':
  entry_point()
