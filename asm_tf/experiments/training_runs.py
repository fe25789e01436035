"""Training runs as the cells of an experiment, and what a run's folder says about it.

A cell is a dict:

    model           gin files without gin/ and .gin, joined by +, such as myriad_lstm
    system          name of a `System`, or id of a Gymnasium environment, such as Hopper-v5
    horizon         H; None for a Gymnasium environment's own limit
    num_env_steps   how far to train
    seed            of everything random
    variation       further gin bindings, joined by spaces, such as LEARNING_RATE=0.001

Its run folder is named after all of it but num_env_steps: a longer run is the same run
trained on, and a shorter one a part of it.
"""

import hashlib
import inspect
import itertools
import json
import pathlib
import re
from collections.abc import Sequence

from asm_tf import gin_files
from asm_tf.errors import UserError, require_at_least
from asm_tf.systems.registry import SYSTEMS
from asm_tf.training.run_folder import read_config, read_rows

_CURVES = ('env_steps', 'updates', 'wall_seconds', 'return', 'normalised_score')
# What explains a curve, where a run has measured it.
CAUSES = ('validation_skill', 'policy_gradient_norm', 'gradient_cosine', 'gradient_relative_error')
# What launch.main's configurations call the fields of a cell.
_MACROS = {'system': 'SYSTEM', 'horizon': 'HORIZON', 'num_env_steps': 'NUM_ENV_STEPS'}
_ENVIRONMENT_MACRO = 'ENVIRONMENT'
# What a cell has fields for.
_GIVEN = ('train.seed', 'train.system', 'train.horizon', 'TrainingLoop.num_env_steps',
          'GymnasiumSystem.environment', *_MACROS.values(), _ENVIRONMENT_MACRO)
# A grid may be somebody else's. Without white space, and without a backslash before the next
# line, no binding can be read as gin's `import`, which would run code.
_ENVIRONMENT = r'([\w.-]+/)?[\w.-]+-v\d+'
_NAME, _REFERENCE = r'[\w./]+', r'[@%][\w./]+(\(\))?'
_BINDING = rf'{_NAME}=\S*[^\s\\]'
_LONGEST_NAME = 200  # bytes; file systems take 255, and .log comes after it


def training_cells(models: Sequence[str], systems: Sequence[str], horizons: Sequence[int | None],
                   num_env_steps: int, num_seeds: int,
                   variations: dict[str, Sequence] | None = None) -> list[dict]:
  """The cells of a grid, seed by seed, so that a part of the sweep has every model.

  Args:
    models: list of names.
    systems: list of names of systems and ids of Gymnasium environments.
    horizons: list of H, or of None.
    num_env_steps: environment steps of every run.
    num_seeds: seeds 0, 1, ..
    variations: {gin binding: list of values}; every combination is run.

  Raises:
    UserError: for a model or a system that does not exist, and numbers below 1, horizons below 2.
  """
  require_at_least(1, num_env_steps=num_env_steps, num_seeds=num_seeds)
  variations = variations or {}
  for name, values in {'models': models, 'systems': systems, 'horizons': horizons,
                       **variations}.items():
    if not isinstance(values, (list, tuple)) or not values:
      raise UserError(f'{name} is {values!r}: give a list of one or more.')
    repeated = [value for i, value in enumerate(values) if value in values[:i]]
    if repeated:
      raise UserError(f'{name} has {repeated[0]!r} twice: give each once.')
  for name in variations:
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
      raise UserError(f'{name!r} is not the name of a gin binding: vary one such as '
                      'LEARNING_RATE or Trainer.batch_size.')
    if name in _GIVEN:
      raise UserError(f'{name!r} is not varied but given: by num_seeds, systems, horizons and '
                      'num_env_steps.')
  for horizon in horizons:
    if horizon is not None:
      require_at_least(2, horizons=horizon)
    elif any(system in SYSTEMS for system in systems):
      raise UserError('horizons has None, for which only Gymnasium has a length: give numbers.')
  for system in systems:
    if system not in SYSTEMS and not re.fullmatch(_ENVIRONMENT, str(system)):
      raise UserError(f'there is no system {system!r}: there are {", ".join(SYSTEMS)}, and '
                      "Gymnasium's environments, such as Pendulum-v1.")
  for file in (gin_file(part) for model in models for part in str(model).split('+')):
    if not (gin_files.ROOT / file).is_file():
      raise UserError(f'{file} does not exist: name models by files of gin/, such as '
                      'myriad_lstm.')
  combinations = [
      ' '.join(f'{name}={_literal(name, value)}'
               for name, value in zip(variations, values, strict=True))
      for values in itertools.product(*variations.values())]
  return [
      {'model': model, 'system': system, 'horizon': horizon, 'num_env_steps': num_env_steps,
       'seed': seed, 'variation': variation}
      for seed in range(num_seeds) for system in systems for horizon in horizons
      for model in models for variation in combinations]


def _literal(name, value):
  """A value as gin reads it, without spaces; strings that begin with @ or % are references."""
  is_reference = isinstance(value, str) and value[:1] in ('@', '%')
  text = value if is_reference else _without_spaces(value)
  if (not isinstance(value, int | float | str | list | tuple | None) or re.search(r'\s', text)
      or is_reference and not re.fullmatch(_REFERENCE, text)):
    raise UserError(f'{name} varies over {value!r}: give numbers, words, or lists of them.')
  return text


def _without_spaces(value):
  """As `repr` writes it, but for the spaces between the parts of a list or a tuple."""
  if not isinstance(value, (list, tuple)) or not value:
    return repr(value)
  parts = ','.join(map(_without_spaces, value))
  if isinstance(value, list):
    return f'[{parts}]'
  return f'({parts},)' if len(value) == 1 else f'({parts})'


def preset_cells(preset: str, smoke: dict, quick: dict, paper: dict) -> list[dict]:
  """The grid of a figure of training runs.

  Args:
    preset: 'smoke', 'quick' or 'paper'.
    smoke: dict of the arguments of `training_cells`, as the next two.
    quick: dict.
    paper: dict.

  Raises:
    UserError: for a grid with other names, and as `training_cells` does.
  """
  grid = {'smoke': smoke, 'quick': quick, 'paper': paper}[preset]
  names = inspect.signature(training_cells).parameters
  unknown = [name for name in grid if name not in names]
  if unknown:
    raise UserError(f'the {preset} preset has {unknown[0]}: a grid has {", ".join(names)}.')
  for name, parameter in names.items():
    if parameter.default is parameter.empty and name not in grid:
      raise UserError(f'the {preset} preset has no {name}: a grid has {", ".join(names)}.')
  return training_cells(**grid)


def folder_of(root: str | pathlib.Path, cell: dict) -> pathlib.Path:
  """The run folder of a cell below `root`."""
  parts = [cell['model'], cell['system'], cell['horizon'],
           *cell['variation'].split(), cell['seed']]
  name = '-'.join(map(str, parts)).replace('/', '.')
  if len(name.encode()) > _LONGEST_NAME:
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    name = name.encode()[:_LONGEST_NAME - 13].decode(errors='ignore') + f'-{digest}'
  return pathlib.Path(root) / name


def arguments(root: str | pathlib.Path, cell: dict) -> list[str]:
  """The arguments of Python that train a cell, or go on with it.

  Raises:
    UserError: for a cell, which a gin file may write out too, that does more than bind values.
  """
  system, is_own = cell['system'], cell['system'] in SYSTEMS
  values = cell | {'system': f'@{system}' if is_own else '@GymnasiumSystem'}
  bindings = [*(f'{macro}={values[field]}' for field, macro in _MACROS.items()),
              *([] if is_own else [f'{_ENVIRONMENT_MACRO}={system!r}']),
              *cell['variation'].split()]
  for binding in bindings:
    if not re.fullmatch(_BINDING, binding):
      raise UserError(f'{binding!r} of the cell {folder_of(root, cell).name!r} is not a gin '
                      'binding: give NAME=VALUE without spaces.')
  return ['-m', 'launch.main',
          *(f'--gin_file={gin_file(part)}' for part in cell['model'].split('+')),
          *(f'--gin_bindings={binding}' for binding in bindings), f'--seed={cell["seed"]}',
          f'--root_dir={folder_of(root, cell)}', '--resume']


def _in_effect(config, binding):
  """The value of a binding as text, that of its macro where it names one."""
  value = config[binding]
  return _in_effect(config, value[1:]) if value.startswith('%') else value


def gin_file(name: str) -> str:
  """The gin file that a part of a model's name stands for."""
  return f'gin/{name}.gin'


def finished_rows(folder: str | pathlib.Path) -> dict[str, dict]:
  """Returns {name of the run's folder: row} of a sweep's finished runs that can be read.

  A row of <folder>/results.jsonl counts without its run: rows are small enough to be committed,
  and a sweep goes on from them on another machine.

  Raises:
    UserError: if results.jsonl holds anything else.
  """
  results, rows = pathlib.Path(folder, 'results.jsonl'), {}
  if results.is_file():
    try:
      kept = map(json.loads, results.read_text(encoding='utf-8').splitlines())
      rows = {folder_of('', row).name: row for row in map(_checked, kept) if row['env_steps']}
    except OSError as error:
      raise UserError(f'{results} cannot be read ({error.strerror}): mend that.') from error
    except (ValueError, KeyError, TypeError) as error:
      raise UserError(f'{results} holds a line that is no row of a run ({error}): remove the '
                      'line.') from error
  for path in pathlib.Path(folder, 'runs').glob('*/summary.json'):
    if not _is_whole(path):
      continue
    try:
      row, name = read_run(path.parent), path.parent.name
    except UserError:  # which a report names
      continue
    if row['env_steps'] and (
        name not in rows or rows[name]['env_steps'][-1] <= row['env_steps'][-1]):
      rows[name] = row
  return dict(sorted(rows.items()))


def _checked(row):
  """The row of a run; `TypeError`, `ValueError` or `KeyError` where it is none."""
  kinds = {'model': str, 'system': str, 'horizon': int | None, 'seed': int, 'variation': str}
  wrong = [name for name, kind in kinds.items() if not isinstance(row[name], kind)]
  lengths = {len(row[name]) for name in _CURVES}
  if wrong or len(lengths) > 1:
    raise ValueError(f'{wrong[0]} is {row[wrong[0]]!r}' if wrong else 'curves of unequal length')
  return row


def _is_whole(summary):
  try:
    return 'env_steps' in json.loads(summary.read_text(encoding='utf-8'))
  except (OSError, TypeError, ValueError):  # it is damaged, and the run will make it again
    return False


def is_covered(rows: dict[str, dict], cell: dict) -> bool:
  """Whether `finished_rows` has the cell's run, trained as far as the cell asks, or further."""
  row = rows.get(folder_of('', cell).name)
  return row is not None and row['env_steps'][-1] >= cell['num_env_steps']


def steps_left(root: str | pathlib.Path, cell: dict) -> int:
  """Environment steps until the run of a cell below `root` is trained as far as the cell asks."""
  try:
    rows = read_rows(folder_of(root, cell))
    return max(0, cell['num_env_steps'] - (rows[-1]['env_steps'] if rows else 0))
  except (OSError, ValueError, KeyError, TypeError):  # it is damaged, and launch.main will say so
    return cell['num_env_steps']


def row_of_cell(rows: dict[str, dict], cell: dict) -> dict:
  """The row of a finished cell: its fields, and curves as far as it goes."""
  row = rows[folder_of('', cell).name]
  last = next(i for i, steps in enumerate(row['env_steps']) if steps >= cell['num_env_steps'])
  return cell | {key: value[:last + 1] if key in _CURVES + CAUSES else value
                 for key, value in row.items() if key not in cell}


def read_run(folder: str | pathlib.Path) -> dict:
  """What a run's folder says, also of a run that has not ended.

  Args:
    folder: path of a folder that launch.main made.

  Returns:
    A dict of the fields of a cell; lists, with one value per evaluation, of env_steps, updates,
    wall_seconds, return and normalised_score (None: not finite, or no optimum is stored), and
    of what was measured beside them; command and versions.

  Raises:
    UserError: if the folder holds no run.
  """
  folder = pathlib.Path(folder)
  try:
    config = read_config(folder)
    asked = json.loads((folder / 'run.json').read_text(encoding='utf-8'))
    rows = read_rows(folder)
    files, bindings = asked['gin_files'], asked['gin_bindings']
    system, horizon, num_env_steps = (
        _in_effect(config, binding) for binding in (
            'train.system', 'train.horizon', 'TrainingLoop.num_env_steps'))
    system = system.lstrip('@').split('.')[-1]
    if system == 'GymnasiumSystem':
      system = _in_effect(config, 'GymnasiumSystem.environment').strip('"\'')
    cell = {'model': '+'.join(file.removesuffix('.gin').split('gin/')[-1] for file in files),
            'system': system,
            'horizon': None if horizon == 'None' else int(horizon),
            'num_env_steps': int(num_env_steps),
            'seed': asked['seed'],
            'variation': ' '.join(binding for binding in bindings
                                  if gin_files.parts_of(binding)[0] not in _GIVEN)}
    curves = {key: [row[key] for row in rows] for key in _CURVES}
    curves |= {key: [row.get(key) for row in rows] for key in CAUSES
               if any(row.get(key) is not None for row in rows)}
    origin = {'command': asked['command'], 'versions': asked['versions']}
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UserError(f'{folder} holds no run that can be read ({type(error).__name__}: {error}): '
                    'give a folder of runs of launch.main.') from error
  return cell | curves | origin
