"""What the commands share, from flags to exit codes.

0 is success; 2 bad input (one line on stderr with cause and remedy, no traceback); 143 or 130
stopped by SIGTERM or Ctrl-C, a run after saving; 1 any other failure.
"""

import contextlib
import functools
import logging as std_logging
import os
import pathlib
import re
import sys
import tokenize
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gin
from absl import app, flags, logging

from asm_tf import atomic_files, gin_files
from asm_tf.errors import FailedRuns, UserError, one_line
from launch import gin_imports, help
from launch.binding_types import require_types
from launch.hints import hint

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_INTERRUPTED, _NOT_READ = 130, 141  # as a shell has it for SIGINT and SIGPIPE


def run(main: Callable, *names: str) -> None:
  """Runs a command as an absl application.

  Args:
    main: function of the positional arguments; what it returns is the exit code.
    *names: of the positional arguments, all of which must be given.
  """
  _require_utf_8()
  _quieten()
  app.run(lambda argv: _end(_guarded(main, argv[1:], names)),
          flags_parser=functools.partial(_parse, main))


def define_gin_flags(what: str, required: bool = True) -> None:
  """Defines the flags of a command that gin configures."""
  flags.DEFINE_multi_string('gin_file', None, f'{what}; may be repeated.', required=required)
  flags.DEFINE_multi_string(
      'gin_bindings', [], "Change to the configuration, such as 'HORIZON=100'; may be repeated.")
  define_allow_gin_imports()


def define_allow_gin_imports() -> None:
  flags.DEFINE_bool('allow_gin_imports', False,
                    'Let gin files that are not in gin/ here import Python modules, which run.')


def parse_gin(files: Sequence[str], bindings: Sequence[str], allow_imports: bool = False) -> None:
  """Reads gin files, then bindings; `UserError` for what is wrong with them."""
  gin.add_config_file_search_path(str(gin_files.ROOT))
  # gin also searches Python's packages for an included file, which runs their code, and
  # whatever TensorFlow can read; `gin_imports` looks on the disk only.
  del gin.config._FILE_READERS[1:]
  try:
    for file in files:
      with_gin_errors(functools.partial(gin_imports.require_sound, file, allow_imports))
    with_gin_errors(lambda: gin.parse_config_files_and_bindings(
        files, None, finalize_config=False))
  except ModuleNotFoundError as error:
    raise UserError(f'a gin file imports what Python does not find ({error}): put the folder that '
                    'holds it on PYTHONPATH.') from error
  except (UnicodeDecodeError, SyntaxError, tokenize.TokenError) as error:  # Python's, of any text
    raise UserError(f'{", ".join(map(str, files))} cannot be read as gin ({error}): give a file '
                    'such as gin/myriad_lstm.gin.') from error
  macros = {*_macros(), *re.findall(r'%(\w+)', gin.config_str())}  # that are set or used
  try:
    with_gin_errors(functools.partial(
        gin_imports.require_sound_bindings, bindings, allow_imports), bindings)
    with_gin_errors(lambda: gin.parse_config(bindings), bindings)
  except ModuleNotFoundError as error:
    raise UserError(f'--gin_bindings imports what Python does not find ({error}): put the folder '
                    'that holds it on PYTHONPATH.') from error
  except (SyntaxError, tokenize.TokenError) as error:  # Python's, of any text or module
    raise UserError(f'--gin_bindings, or a module that it imports, cannot be read '
                    f'({one_line(error)}): give NAME=VALUE, or mend the module.') from error
  unknown = sorted(set(_macros()) - macros)
  if unknown:
    raise UserError(f'--gin_bindings={unknown[0]}=... sets a macro that no gin file uses: '
                    f'these have {", ".join(sorted(macros))}.' if macros else
                    f'--gin_bindings={unknown[0]}=... sets a macro, and the gin files have none: '
                    'bind a parameter that they bind, such as NAME.parameter=VALUE.')
  require_types()


def require_bound(function: str, files: Sequence[str], parameters: Sequence[str],
                  remedy: str) -> None:
  """Raises `UserError` unless gin files bind these parameters of a function.

  Args:
    function: its name in gin.
    files: that were parsed.
    parameters: names.
    remedy: what to give instead.
  """
  if not set(parameters) <= gin.get_bindings(function, resolve_references=False).keys():
    raise UserError(f'--gin_file={files[0]} does not say what to do: {remedy}.')


def refuse_bindings_of_runs(understood: Sequence[str], remedy: Callable[[str], str]) -> None:
  """Raises `UserError` for what was bound and would not reach the runs of a sweep or a figure.

  Args:
    understood: the functions whose parameters may be bound, beside macros.
    remedy: function (name of a binding) -> what to do instead.
  """
  for (_, selector), values in gin.config._CONFIG.items():
    function = selector.split('.')[-1]
    if function not in (*understood, 'macro'):
      name = f'{function}.{next(iter(values))}'
      raise UserError(f'{name} would not reach the runs: {remedy(name)}.')


def require_files(flag: str, files: Sequence[str]) -> None:
  """Raises `UserError` unless all gin files that a flag names exist."""
  for file in files:
    found = gin_files.find(file)
    if found is None:
      raise UserError(f'--{flag}={file} does not exist: give a file such as gin/myriad_lstm.gin.')
    if not os.access(found, os.R_OK):
      raise UserError(f'--{flag}={file} may not be read: mend its permissions.')


def _macros():
  """Names of the macros bound so far, such as HORIZON."""
  return re.findall(r'^(\w+) = ', gin.config_str(), re.MULTILINE)


def with_gin_errors(call: Callable, bindings: Sequence[str] = ()) -> Any:
  """Calls and returns `call()`; an error that gin raises becomes a `UserError`.

  Args:
    call: function of nothing.
    bindings: that it reads, to say what may be meant.
  """
  try:
    return call()
  except (ValueError, TypeError, SyntaxError, KeyError, OSError) as error:
    if _is_from_gin(error):
      message = one_line(error)
      raise UserError(f'the configuration is not valid: {message}. '
                      f'{hint(message, tuple(bindings))}Mend the gin file or --gin_bindings.'
                      ) from error
    raise


def _is_from_gin(error):
  """True if the innermost frame that raised the error is gin's own."""
  frame = error.__traceback__
  while frame.tb_next is not None:
    frame = frame.tb_next
  path = pathlib.Path(frame.tb_frame.f_code.co_filename)
  return path.is_relative_to(pathlib.Path(gin.__file__).parent)


def _parse(main, argv):
  if any(argument in help.ASKS_FOR_HELP for argument in argv[1:]):
    sys.exit(_shown(lambda: help.help_text(main)))
  if '--list' in argv[1:] and 'gin_file' in flags.FLAGS:
    sys.exit(_shown(help.listing))
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    _complain(f'{error} (--help lists the flags)')
    sys.exit(2)


def _shown(text):
  """Prints a text; a reader may stop where it has seen enough."""
  code = _guarded(lambda: print(text(), flush=True))
  return 0 if code == _NOT_READ else code


def require_writable(flag: str, path: pathlib.Path) -> None:
  """Raises `UserError` unless the file at `path` can be written."""
  if path.is_dir():
    raise UserError(f'--{flag}={path} is a directory: give the path of a file.')
  if not path.parent.is_dir():
    raise UserError(f'--{flag}={path}: there is no directory {path.parent}; make it first.')
  if not os.access(path if path.exists() else path.parent, os.W_OK):
    raise UserError(f'--{flag}={path} can not be written: choose a path that you may write to.')


def make_folder(path: pathlib.Path) -> None:
  """Makes a folder and its parents unless they exist."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'cannot make the folder {path} ({error.strerror}): choose another.') from error


def write_in_one_step(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
  """As that of `atomic_files`; `UserError` where the file cannot be written."""
  try:
    atomic_files.write_in_one_step(path, write)
  except OSError as error:
    raise UserError(f'{path} can not be written ({error.strerror}): choose another path.'
                    ) from error


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file as `write_in_one_step` does."""
  write_in_one_step(path, lambda draft: draft.write_text(text, encoding='utf-8'))


def write_pictures(folder: pathlib.Path, pictures: dict[str, 'Figure']) -> None:
  """Writes {name: matplotlib `Figure`} to <folder>/<name>.png."""
  for name, picture in pictures.items():
    write_in_one_step(folder / f'{name}.png',
                      functools.partial(picture.savefig, format='png'))


def _require_utf_8():
  """Starts again in UTF-8 mode where file names would be ASCII: TensorFlow takes no others."""
  if sys.getfilesystemencoding() != 'utf-8':
    os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])


def _quieten():
  """Leaves the terminal to our own messages: libraries report errors only."""
  logging.set_verbosity(logging.ERROR)
  warnings.simplefilter('ignore', SyntaxWarning)  # TF-Agents compares tuples by identity
  ours = std_logging.getLogger('asm_tf')
  ours.setLevel(std_logging.WARNING)
  ours.addHandler(std_logging.StreamHandler())
  ours.propagate = False


def _guarded(main, arguments=(), names=()):
  if len(arguments) > len(names):
    surplus = arguments[len(names)]
    flag = f'--gin_file={surplus} is meant' if surplus.endswith('.gin') else (
        'every option is a flag')
    _complain(f'unexpected argument {surplus!r}: {flag} (--help lists them).')
    return 2
  if len(arguments) < len(names):
    _complain(f'{names[len(arguments)]} is missing (--help shows the use).')
    return 2
  try:
    return main(*arguments) or 0
  except UserError as error:
    _complain(error.message)
    return error.exit_code
  except FailedRuns as failed:
    print(f'error: these runs failed, the others are kept; the same command tries them again:\n'
          f'{failed}', file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    how = ' with --root_dir and --resume' if 'resume' in flags.FLAGS else ''
    _complain(f'interrupted; what was saved is kept: the same command{how} goes on.')
    return _INTERRUPTED
  except BrokenPipeError:  # the reader, `head` for example, is gone, and work may be unfinished
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _NOT_READ


def _end(code):
  # Ray's threads, stopped anywhere, can crash an interpreter that ends.
  if code == _INTERRUPTED and 'ray' in sys.modules:
    with contextlib.suppress(OSError):  # nobody reads any more
      sys.stdout.flush()
      sys.stderr.flush()
    os._exit(code)
  sys.exit(code)


def _complain(message):
  print('error:', one_line(message), file=sys.stderr)
