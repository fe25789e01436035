"""Nothing but what matters reaches the terminal."""

import os
import subprocess
import sys

from asm_tf.quiet import harmless_lines_dropped
from tests.support.paths import REPOSITORY


def test_what_is_not_known_to_be_harmless_is_passed_on(capfd):
  with harmless_lines_dropped():
    os.write(2, b'WARNING: All log messages before absl::InitializeLog() is called are ..\n'
                b'I0000 00:00:1795894506.027604    6051 port.cc:153] oneDNN custom operations\n'
                b'E0000 00:00:1795894506.027604    6051 memory.cc:1] this matters\n'
                b'To enable the following instructions: AVX2 FMA\n')
    os.write(2, b'so does this\n')
  os.write(2, b'and this\n')
  assert capfd.readouterr().err.splitlines() == [
      'E0000 00:00:1795894506.027604    6051 memory.cc:1] this matters', 'so does this',
      'and this']


def test_a_closed_stderr_is_left_alone():
  code = 'import asm_tf, tensorflow as tf; print(tf.__name__)'
  done = subprocess.run(
      ['sh', '-c', f'{sys.executable} -c "{code}" 2>&-'],
      cwd=REPOSITORY, text=True, capture_output=True, timeout=100, check=False)
  assert (done.returncode, done.stdout) == (0, 'tensorflow\n')


def test_an_error_within_comes_out_with_its_lines(capfd):
  try:
    with harmless_lines_dropped():
      os.write(2, b'first\n')
      raise KeyError('x')
  except KeyError:
    os.write(2, b'then\n')
  assert capfd.readouterr().err == 'first\nthen\n'


def test_tensorflow_starts_without_a_word():
  done = subprocess.run(
      [sys.executable, '-c', 'import asm_tf, tensorflow as tf, warnings; print(tf.__version__); '
       'print(tf.__spec__.loader.get_filename("tensorflow") == tf.__file__); import gym; '
       'print(any(action == "once" for action, *_ in warnings.filters))'],
      cwd=REPOSITORY, text=True, capture_output=True, timeout=100, check=False)
  assert (done.returncode, done.stderr) == (0, '')
  assert done.stdout.splitlines()[1:] == ['True', 'False']  # gym would show what is deprecated
