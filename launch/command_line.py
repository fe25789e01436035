"""What every command shares: flags in, exit code out.

0 done; 2 the user's input is at fault (one line on stderr: cause and remedy, no
traceback); 1 anything else; 143 stopped by SIGTERM after saving.
"""

import os
import sys

from absl import app, flags

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # TensorFlow's start-up notices

from asm_tf.errors import UserError  # pylint: disable=wrong-import-position


def run(main):
  """Runs `main()` as an absl application; what it returns is the exit code."""
  app.run(lambda argv: sys.exit(_guarded(main, argv)), flags_parser=_parse)


def _parse(argv):
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    _complain(f'{error} (--helpshort lists the flags)')
    sys.exit(2)


def _guarded(main, argv):
  if len(argv) > 1:
    _complain(f'unexpected argument {argv[1]!r}: every option is a flag (--helpshort lists them).')
    return 2
  try:
    return main() or 0
  except UserError as error:
    _complain(error)
    return 2


def _complain(message):
  print('error:', ' '.join(str(message).split()), file=sys.stderr)
