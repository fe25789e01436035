"""What gin files import: Python modules, whose code runs, and each other."""

import pathlib
from collections.abc import Iterator, Sequence

from gin import config_parser

from asm_tf import gin_files
from asm_tf.errors import UserError


def require_sound(file: str | pathlib.Path, allow_imports: bool,
                  above: tuple[pathlib.Path, ...] = ()) -> None:
  """Raises `UserError` if a gin file, or one that it includes, may not be read.

  Args:
    file: path; gin itself says it where there is no such file.
    allow_imports: whether files that are not in gin/ may import modules.
    above: the files that include it; it may be none of them.
  """
  found = gin_files.find(file)
  if found is None:
    return
  path = found.resolve()
  if path in above:
    raise UserError(f'{path} includes itself, by way of {above[-1]}: take one include out.')
  may_import = allow_imports or path.is_relative_to(gin_files.ROOT / 'gin')
  for statement in _statements(path):
    if isinstance(statement, config_parser.IncludeStatement):
      require_sound(statement.filename, allow_imports, (*above, path))
    if isinstance(statement, config_parser.ImportStatement) and not may_import:
      raise UserError(f'{path} imports {statement.module}, which runs its code: read it, then '
                      'give --allow_gin_imports if you trust it.')


def require_sound_bindings(bindings: Sequence[str], allow_imports: bool) -> None:
  """Raises `UserError` if a gin file that bindings include may not be read."""
  for statement in config_parser.ConfigParser('\n'.join(bindings), _Names()):
    if isinstance(statement, config_parser.IncludeStatement):
      require_sound(statement.filename, allow_imports)


def imports_of(path: pathlib.Path) -> list[str]:
  """Returns the names of the modules that a gin file itself imports."""
  return [statement.module for statement in _statements(path)
          if isinstance(statement, config_parser.ImportStatement)]


def _statements(path: pathlib.Path) -> Iterator[object]:
  try:
    with path.open(encoding='utf-8') as lines:  # by which gin names the file in its errors
      yield from config_parser.ConfigParser(lines, _Names())
  except OSError as error:
    raise UserError(f'{path} cannot be read ({error.strerror}): mend its permissions.') from error


class _Names(config_parser.ParserDelegate):
  """Reads references and macros by their names alone."""

  def configurable_reference(self, scoped_name, evaluate):
    return scoped_name

  def macro(self, scoped_name):
    return scoped_name
