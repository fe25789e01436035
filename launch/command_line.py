"""What every command shares: flags in, exit code out.

0 done; 2 the user's input is at fault (one line on stderr: cause and remedy, no
traceback); 1 anything else; 143 or 130 stopped by SIGTERM or Ctrl-C, a run after saving.
"""

import logging as std_logging
import os
import pathlib
import re
import shlex
import sys
import tokenize
import warnings

from absl import app, flags, logging
import gin
from gin import config_parser

# TensorFlow's start-up notices, and an "error" for each program that it finds in its cache.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from asm_tf.errors import FailedRuns, UserError  # pylint: disable=wrong-import-position
from launch.compilation_cache import keep_compiled_programs  # pylint: disable=wrong-import-position

keep_compiled_programs()  # TensorFlow reads its flags when it is imported

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def run(main, *names):
  """Runs a command as an absl application.

  Args:
    main: function of the positional arguments; what it returns is the exit code.
    *names: of the positional arguments, all of which must be given.
  """
  _quieten()
  app.run(lambda argv: sys.exit(_guarded(main, argv[1:], names)), flags_parser=_parse)


def define_gin_flags(what):
  """The flags of a command that is configured by gin."""
  flags.DEFINE_multi_string('gin_file', None, f'{what}; may be repeated.', required=True)
  flags.DEFINE_multi_string(
      'gin_bindings', [], "Change to the configuration, such as 'HORIZON=100'; may be repeated.")
  define_allow_gin_imports()


def define_allow_gin_imports():
  flags.DEFINE_bool('allow_gin_imports', False,
                    'Let gin files that are not in gin/ here import Python modules, which run.')


def parse_gin(files, bindings, allow_imports=False):
  """Reads gin files, then bindings; what is wrong with them is the user's input."""
  gin.add_config_file_search_path(str(REPOSITORY))
  # gin also looks for an included file in Python's packages, and runs them to find it, and in
  # whatever TensorFlow can read; `_refuse_imports` looks on the disk.
  del gin.config._FILE_READERS[1:]  # pylint: disable=protected-access
  try:
    if not allow_imports:
      with_gin_errors(lambda: [_refuse_imports(file) for file in files])
    with_gin_errors(lambda: gin.parse_config_files_and_bindings(
        files, None, finalize_config=False))
  except ModuleNotFoundError as error:
    raise UserError(f'a gin file imports what Python does not find ({error}): put the folder that '
                    'holds it on PYTHONPATH.') from error
  except (UnicodeDecodeError, SyntaxError, tokenize.TokenError) as error:  # Python's, of any text
    raise UserError(f'{", ".join(map(str, files))} cannot be read as gin ({error}): give a file '
                    'such as gin/myriad_lstm.gin.') from error
  macros = set(_macros())
  try:
    with_gin_errors(lambda: gin.parse_config(bindings))
  except ModuleNotFoundError as error:
    raise UserError(f'--gin_bindings imports what Python does not find ({error}): put the folder '
                    'that holds it on PYTHONPATH.') from error
  unknown = sorted(set(_macros()) - macros)
  if unknown:
    raise UserError(f'--gin_bindings={unknown[0]}=... sets a macro that no gin file uses: '
                    f'these have {", ".join(sorted(macros)) or "none"}.')


def refuse_bindings_of_runs(bindings):
  """Raises `UserError` for bindings that a sweep's runs, processes of their own, would not see."""
  for binding in bindings:
    name = binding.split('=')[0].strip()
    if name.split('.')[0] not in ('training_cells', 'preset_cells', 'run_sweep', 'figure'):
      raise UserError(f'--gin_bindings={name}=... would not reach the runs of the sweep: make it a '
                      "variation, --gin_bindings=\"training_cells.variations={'" + name +
                      "': (..,)}\".")


def require_files(flag, files):
  """Raises `UserError` unless all of the files that a flag names exist."""
  for file in files:
    if not os.path.isfile(file):
      raise UserError(f'--{flag}={file} does not exist: give a file such as gin/myriad_lstm.gin.')


def _refuse_imports(file, above=()):
  """Raises `UserError` if a file from elsewhere, or one that it includes, imports a module.

  Or if it includes itself; `above` are the files that include it.
  """
  paths = [pathlib.Path(folder) / file for folder in ('.', REPOSITORY)]
  path = next((path.resolve() for path in paths if path.is_file()), None)
  if path is None:
    return  # gin says so itself
  if path in above:
    raise UserError(f'{path} includes itself, by way of {above[-1]}: take one include out.')
  with path.open() as lines:
    for statement in config_parser.ConfigParser(lines, _Names()):
      if isinstance(statement, config_parser.IncludeStatement):
        _refuse_imports(statement.filename, (*above, path))
      is_import = isinstance(statement, config_parser.ImportStatement)
      if is_import and not path.is_relative_to(REPOSITORY / 'gin'):
        raise UserError(f'{path} imports {statement.module}, which runs its code: read it, then '
                        'give --allow_gin_imports if you trust it.')


class _Names(config_parser.ParserDelegate):
  """Reads references and macros by their names alone."""

  def configurable_reference(self, scoped_name, evaluate):
    return scoped_name

  def macro(self, scoped_name):
    return scoped_name


def command(module):
  """The command line as it was given, to be kept with what it makes."""
  return f'python -m {module} {shlex.join(sys.argv[1:])}'


def _macros():
  """Names of the macros bound so far, such as HORIZON."""
  return re.findall(r'^(\w+) = ', gin.config_str(), re.MULTILINE)


def with_gin_errors(call):
  """Calls and returns `call()`; an error that gin raises becomes a `UserError`."""
  try:
    return call()
  except (ValueError, TypeError, SyntaxError, OSError) as error:
    if _is_from_gin(error):
      raise UserError(f'the configuration is not valid: {error}. Mend the gin file or '
                      '--gin_bindings.') from error
    raise


def _is_from_gin(error):
  """True if the innermost frame that raised the error is gin's own."""
  frame = error.__traceback__
  while frame.tb_next is not None:
    frame = frame.tb_next
  return f'{os.sep}gin{os.sep}' in frame.tb_frame.f_code.co_filename


def _parse(argv):
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    _complain(f'{error} (--helpshort lists the flags)')
    sys.exit(2)


def require_writable(flag, path):
  """Raises `UserError` unless the file at `path` can be written."""
  if path.is_dir():
    raise UserError(f'--{flag}={path} is a directory: give the path of a file.')
  if not path.parent.is_dir():
    raise UserError(f'--{flag}={path}: there is no directory {path.parent}; make it first.')
  if not os.access(path if path.exists() else path.parent, os.W_OK):
    raise UserError(f'--{flag}={path} can not be written: choose a path that you may write to.')


def make_folder(path):
  """Makes a folder and those above it where they are not there."""
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'cannot make the folder {path} ({error.strerror}): choose another.') from error


def write_in_one_step(path, write):
  """Writes a file in one step, so that a stopped run leaves the old one whole."""
  part = path.with_name(path.name + '.part')
  try:
    write(part)
    os.replace(part, path)
  except OSError as error:
    raise UserError(f'{path} can not be written ({error.strerror}): choose another path.'
                    ) from error


def write_pictures(folder, pictures):
  """Writes {name: matplotlib `Figure`} to <folder>/<name>.png."""
  for name, picture in pictures.items():
    write_in_one_step(folder / f'{name}.png',
                      lambda part, picture=picture: picture.savefig(part, format='png'))


def _quieten():
  """Leaves the terminal to our own messages: libraries speak up at errors only."""
  logging.set_verbosity(logging.ERROR)
  warnings.simplefilter('ignore', SyntaxWarning)  # TF-Agents compares tuples by identity
  ours = std_logging.getLogger('asm_tf')
  ours.setLevel(std_logging.WARNING)
  ours.addHandler(std_logging.StreamHandler())
  ours.propagate = False


def _guarded(main, arguments, names):
  if len(arguments) > len(names):
    _complain(f'unexpected argument {arguments[len(names)]!r}: every option is a flag '
              '(--helpshort lists them).')
    return 2
  if len(arguments) < len(names):
    _complain(f'{names[len(arguments)]} is missing (--helpshort shows the use).')
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
    _complain('interrupted; what was saved is kept: the same command goes on, launch.main with '
              '--root_dir and --resume.')
    return 130
  except BrokenPipeError:  # the reader, `head` for example, has seen enough
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _complain(message):
  print('error:', ' '.join(str(message).split()), file=sys.stderr)
