"""What tells the runs of a sweep apart, for TensorBoard's HPARAMS."""

import ast
import contextlib
import pathlib
from typing import Any

import gin

from asm_tf import gin_files

_MACROS = ('SYSTEM', 'ENVIRONMENT', 'HORIZON', 'NUM_ENV_STEPS')


def hyperparameters(command_line: dict) -> dict[str, Any]:
  """Returns {name: number, bool or text}: the gin files, the seed and what was bound beside them.

  Args:
    command_line: 'gin_files', 'gin_bindings' and 'seed' of a run's run.json; {} for a run that
      Python code started, of which the configuration's macros are returned.
  """
  values: dict[str, Any] = {}
  if 'gin_files' in command_line:
    values['gin_file'] = '+'.join(
        pathlib.Path(file).stem for file in command_line['gin_files'])
  if 'seed' in command_line:
    values['seed'] = command_line['seed']
  for macro in _MACROS:
    with contextlib.suppress(ValueError):  # not bound
      values[macro] = gin.query_parameter(f'{macro}/gin.macro.value')
  bound = dict(map(gin_files.parts_of, command_line.get('gin_bindings', ())))  # the last counts
  values |= {name: _literal(value) for name, value in bound.items() if value and name not in values}
  return {name: value if isinstance(value, (bool, int, float, str)) else str(value)
          for name, value in values.items()}


def _literal(text):
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
