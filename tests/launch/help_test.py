"""What a newcomer asks first: the flags of every command, and what can be chosen."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from asm_tf.systems.registry import SYSTEMS
from launch import help as launch_help
from tests.support.paths import REPOSITORY

COMMANDS = ('main', 'evaluate', 'figure', 'report', 'simulate', 'solve', 'sweep')


def run(module, *arguments):
  return subprocess.run(
      [sys.executable, '-m', f'launch.{module}', *arguments], cwd=REPOSITORY, text=True,
      capture_output=True, timeout=200, check=False)


@pytest.mark.parametrize('command', COMMANDS)
def test_help_has_an_example_and_every_flag(command):
  done = run(command, '--help')
  assert (done.returncode, done.stderr) == (0, '')
  assert f'python -m launch.{command} ' in done.stdout
  text = (REPOSITORY / f'launch/{command}.py').read_text()
  names = re.findall(r"flags\.DEFINE_\w+\(\s*'(\w+)'", text)
  if 'define_gin_flags' in text:
    names += ['gin_file', 'gin_bindings', 'allow_gin_imports']
  assert names or command == 'report'
  for name in names:
    assert re.search(rf'--(\[no\])?{name}\b', done.stdout), name
  assert 'repeat this option' not in done.stdout
  assert max(map(len, done.stdout.splitlines())) <= 102


@pytest.mark.parametrize('flag', ['--helpshort', '-h', '--helpfull'])
def test_other_spellings_are_the_same(flag):
  assert run('main', flag).stdout == run('main', '--help').stdout


def test_the_list_has_every_system_and_gin_file_with_a_line():
  lines = launch_help.listing().splitlines()
  named = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith('  ')}
  assert set(SYSTEMS) < set(named)
  files = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / 'gin').rglob('*.gin')}
  assert files - set(named) == {str(path.relative_to(REPOSITORY)) for path in (
      REPOSITORY / 'gin/training').glob('*.gin')}
  assert all(len(text) > 15 for text in named.values())


def test_list_is_a_flag_of_what_gin_configures():
  done = run('sweep', '--list')
  assert (done.returncode, done.stderr) == (0, '')
  assert 'gin/myriad_lstm.gin ' in done.stdout
  done = run('evaluate', '--list')
  assert done.returncode == 2
  assert 'list' in done.stderr


@pytest.mark.parametrize('command', ['main', 'report'])
def test_a_reader_that_has_seen_enough_is_no_error(command):
  done = subprocess.run(
      ['bash', '-c', f'{sys.executable} -m launch.{command} --help | true; '
       'echo ${PIPESTATUS[0]}'],
      cwd=REPOSITORY, text=True, capture_output=True, timeout=100, check=False)
  assert (done.stdout, done.stderr) == ('0\n', '')


def test_a_folder_may_have_any_letters_in_any_locale(tmp_path):
  root_dir = tmp_path / 'läuft'
  done = subprocess.run(
      [sys.executable, '-m', 'launch.main', '--gin_file=gin/myriad_random_search.gin',
       '--gin_bindings=NUM_ENV_STEPS=40', f'--root_dir={root_dir}'], cwd=REPOSITORY, text=True,
      capture_output=True, timeout=200, check=False, encoding='utf-8',
      env=os.environ | {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'})
  assert done.returncode == 0, done.stderr
  assert pathlib.Path(root_dir, 'summary.json').is_file()
  assert [line for line in done.stderr.splitlines() if line and 'step' not in line] == []  # a bar
