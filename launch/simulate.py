"""Rolls a system out under given actions, scores it and draws it.

    python -m launch.simulate --system=CancerTreatment --horizon=20 --actions=optimal
    python -m launch.simulate --system=HIVTreatment --horizon=20 --actions=FILE.json \\
        --out=trajectory.json --plot=trajectory.png

--out holds {"system", "horizon", "actions" [H][m], "states" [H+1][n], "rewards" [H],
"return", "gradient" [H][m] of the return with respect to the actions}; it may be
given back as --actions.
"""

import json
import pathlib

import numpy as np
import tensorflow as tf
from absl import flags

from asm_tf.environments import scores
from asm_tf.errors import UserError
from asm_tf.plots.trajectory import draw_trajectory
from asm_tf.systems.registry import SYSTEMS
from asm_tf.systems.rollout import return_and_gradient
from asm_tf.systems.system import System
from launch import command_line


def define_flags() -> None:
  flags.DEFINE_string('system', None, f'One of {", ".join(SYSTEMS)}.', required=True)
  flags.DEFINE_integer('horizon', 20, 'Number of steps H, at least 2.')
  flags.DEFINE_string(
      'actions', 'random', 'FILE.json with a list [H][m] or a dict with "actions"; `random` '
      '(uniform); `optimal` (the stored optimum); or a number in [-1, 1] for all actions.')
  flags.DEFINE_integer('seed', 0, 'Seed of --actions=random.', lower_bound=0)
  flags.DEFINE_enum('dtype', 'float64', ['float32', 'float64'], 'Precision.')
  flags.DEFINE_string('out', None, 'JSON file for states, rewards, return and gradient.')
  flags.DEFINE_string(
      'plot', None, 'PNG file for the picture (default: beside --out, or <system>-<H>.png here).')


def main() -> None:
  given = flags.FLAGS
  run(given.system, given.horizon, given.actions, given.seed, given.dtype, given.out, given.plot)


def run(system_name: str, horizon: int, source: str, seed: int = 0, dtype: str = 'float64',
        out: str | None = None, plot: str | None = None) -> None:
  """Runs the command with the flags of the same names; `source` is --actions."""
  system = build_system(system_name, horizon, dtype)
  reference = scores.reference(system.name, system.horizon)
  actions = read_actions(source, system, reference, seed)
  trajectory = pathlib.Path(out) if out else None
  picture = _plot_path(plot, trajectory, system)
  for flag, path in (('out', trajectory), ('plot', picture)):
    if path is not None:
      command_line.require_writable(flag, path)
  if picture.suffix != '.png' or picture == trajectory:
    raise UserError(f'--plot={picture} is to be a picture: give a name that ends with .png, and '
                    '--out another.')

  result = roll_out(system, actions)
  _report(result['return'], reference)
  if trajectory is not None:
    command_line.write_text(trajectory, json.dumps(result))
    print(f'trajectory: {trajectory}')
  figure = draw_trajectory(system, result['states'], actions, scores.optimal_trajectory(system))
  command_line.write_in_one_step(picture, lambda part: figure.savefig(part, format='png'))
  print(f'picture: {picture}')


def build_system(name: str, horizon: int, dtype: str) -> System:
  """The named `System`; `UserError` for an unknown name or a bad horizon."""
  if name not in SYSTEMS:
    raise UserError(f'--system={name} is unknown: choose one of {", ".join(SYSTEMS)}.')
  return SYSTEMS[name](horizon, dtype=tf.as_dtype(dtype))


def read_actions(source: str, system: System, reference: scores.Reference | None,
                 seed: int) -> np.ndarray:
  """Actions [H, m] in float64 from the value of --actions.

  Raises:
    UserError: where the source does not give H x m finite numbers in [-1, 1].
  """
  shape = (system.horizon, system.action_size)
  if source == 'random':
    return np.random.default_rng(seed).uniform(-1, 1, shape)
  if source == 'optimal':
    if reference is None:
      raise UserError(f'no optimum is stored for {system.name} at H={system.horizon}: run python '
                      f'-m launch.solve --system={system.name} --horizon={system.horizon} --save.')
    return reference.actions
  try:
    actions = np.full(shape, float(source))
  except ValueError:
    actions = _from_file(source, system)
  if actions.shape != shape:
    raise UserError(f'--actions={source} has shape {list(actions.shape)}: {system.name} at '
                    f'H={system.horizon} takes {list(shape)}, a list of H lists of m numbers.')
  if not np.all(np.abs(actions) <= 1):  # False for NaN too
    raise UserError(f'--actions={source} holds a value outside [-1, 1] or NaN: give actions in '
                    '[-1, 1]; they are rescaled to the control\'s bounds.')
  return actions


def roll_out(system: System, actions: np.ndarray) -> dict:
  """The content of --out: JSON-ready states, rewards, return and gradient."""
  batch = tf.constant(actions[None], system.dtype)
  states, rewards, gradient = (x[0].numpy() for x in return_and_gradient(system, batch))
  return {'system': system.name, 'horizon': system.horizon, 'actions': actions.tolist(),
          'states': states.tolist(), 'rewards': rewards.tolist(),
          'return': float(rewards.sum()), 'gradient': gradient.tolist()}


def _from_file(source, system):
  try:
    content = json.loads(pathlib.Path(source).read_text(encoding='utf-8'))
  except OSError as error:
    raise UserError(f'--actions={source} can not be read ({error.strerror}): give a JSON file, '
                    'random, optimal or a number.') from error
  except (ValueError, RecursionError) as error:
    raise UserError(f'--actions={source} is not JSON ({error}): write a list [H][m].') from error
  if isinstance(content, dict):
    if 'actions' not in content:
      raise UserError(f'--actions={source} has no key "actions": add it or give a list [H][m].')
    if content.get('system', system.name) != system.name:
      raise UserError(f'--actions={source} is of {content["system"]}, not of {system.name}: give a '
                      'file of that system, or a list [H][m].')
    content = content['actions']
  try:
    return np.array(content, np.float64)
  except (OverflowError, TypeError, ValueError) as error:
    raise UserError(f'--actions={source} is not a table of numbers: write a list of H lists of '
                    'm numbers.') from error


def _plot_path(plot, out, system):
  if plot:
    return pathlib.Path(plot)
  return out.with_suffix('.png') if out else pathlib.Path(f'{system.name}-{system.horizon}.png')


def _report(value, reference):
  print(f'return: {value:.10g}')
  if reference is None:
    print('normalised score: unknown, no optimum is stored for this system and horizon')
  else:
    print(f'normalised score: {scores.normalised_score(value, reference):.4f} '
          f'(random {reference.random:.4g}, optimal {reference.optimal:.6g})')


def entry_point() -> None:
  define_flags()
  command_line.run(main)


if __name__ == '__main__':
  entry_point()
