"""XLA's programs are kept between commands, and the disk is not filled with them."""

import os
import subprocess
import sys
import time

import pytest

from launch import compilation_cache
from tests.support.paths import REPOSITORY

_COMPILES = """
from launch import command_line
import tensorflow as tf
print(tf.function(lambda x: tf.tanh(x @ x), jit_compile=True)(tf.eye(4))[0, 0].numpy())
"""


@pytest.fixture(name='cache')
def _cache(tmp_path, monkeypatch):
  """The folder of an empty cache."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('TF_XLA_FLAGS', '--tf_xla_max_cluster_size=100')
  return tmp_path / 'asm_tf' / 'xla'


def _old_file(path, size, days):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b'x' * size)
  then = time.time() - 86400 * days
  os.utime(path, (then, then))
  return path


def test_a_second_command_finds_the_programs_of_the_first(cache):
  printed, written = [], []
  for _ in range(2):
    done = subprocess.run([sys.executable, '-c', _COMPILES], capture_output=True, text=True,
                          check=True, cwd=REPOSITORY)
    printed.append(done.stdout)
    program, = cache.glob('*/*.pb')
    written.append(program.stat().st_mtime_ns)
    assert not [line for line in done.stderr.splitlines() if line.startswith('E')]  # TF's errors
  assert printed[0] == printed[1]
  assert written[0] == written[1]


def _cut(program):
  program.write_bytes(program.read_bytes()[:-100])


def _flip(program):
  content = bytearray(program.read_bytes())
  content[len(content) // 2] ^= 1
  program.write_bytes(content)


def _empty(program):
  program.write_bytes(b'')


def _make_folder(program):
  program.unlink()
  program.mkdir()
  (program / 'inside').write_text('x')


def _damage_checksum(program):
  compilation_cache._checksum_file(program).write_bytes(b'\xff\xfe')


@pytest.mark.parametrize('damage', [_cut, _flip, _empty, _make_folder, _damage_checksum])
def test_a_damaged_program_is_dropped(damage, cache):
  compilation_cache.keep_compiled_programs()
  folder, = cache.iterdir()
  program, whole = (_old_file(folder / f'{name}.pb', 300, days=0) for name in ('a', 'b'))
  compilation_cache._write_checksums(folder)
  damage(program)
  compilation_cache.keep_compiled_programs()
  assert not program.exists()
  assert whole.is_file()


def test_a_damaged_program_is_compiled_anew(cache):
  def compile_once():
    return subprocess.run([sys.executable, '-c', _COMPILES], capture_output=True, text=True,
                          check=False, cwd=REPOSITORY)

  first = compile_once()
  program, = cache.glob('*/*.pb')
  _flip(program)
  second = compile_once()
  assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, '')
  program, = cache.glob('*/*.pb')
  assert program.is_file()
  assert compilation_cache._checksum_file(program).read_text() == compilation_cache._checksum(
      program)


def test_a_program_that_may_not_be_read_is_compiled_anew(cache, monkeypatch):
  cache.mkdir(parents=True)
  compilation_cache.keep_compiled_programs()
  folder, = cache.iterdir()
  program = _old_file(folder / 'a.pb', 30, days=0)
  compilation_cache._write_checksums(folder)

  def refuse(path):
    raise PermissionError(path)

  monkeypatch.setattr(compilation_cache, '_checksum', refuse)
  compilation_cache._drop_damaged(folder)
  assert not program.exists()


def test_a_program_without_a_checksum_is_kept_while_its_run_may_go_on(cache):
  compilation_cache.keep_compiled_programs()
  folder, = cache.iterdir()
  new, old = _old_file(folder / 'new.pb', 30, days=0), _old_file(folder / 'old.pb', 30, days=1)
  compilation_cache._drop_damaged(folder)
  assert new.exists()
  assert not old.exists()


def test_flags_of_the_user_stay_and_have_the_last_word(cache, monkeypatch):
  compilation_cache.keep_compiled_programs()
  first, *ours = os.environ['TF_XLA_FLAGS'].split()
  assert first == '--tf_xla_max_cluster_size=100'
  assert ours[0] == f'--tf_xla_persistent_cache_directory={next(cache.iterdir())}'
  off = '--tf_xla_persistent_cache_directory='
  monkeypatch.setenv('TF_XLA_FLAGS', off)
  compilation_cache.keep_compiled_programs()
  assert os.environ['TF_XLA_FLAGS'] == off


def test_what_changes_a_program_changes_its_folder(cache, monkeypatch):
  for flags, cores in (('', 1), ('', 2), ('--xla_cpu_enable_fast_math=true', 2), ('', 1)):
    monkeypatch.setenv('XLA_FLAGS', flags)
    monkeypatch.setattr(compilation_cache, 'usable_cores', lambda cores=cores: cores)
    monkeypatch.setenv('TF_XLA_FLAGS', '')
    compilation_cache.keep_compiled_programs()
  assert len(list(cache.iterdir())) == 3


def test_a_process_with_other_threads_does_not_take_its_parents_folder(cache, monkeypatch):
  folders = []
  for cores in (1, 2):
    monkeypatch.setattr(compilation_cache, 'usable_cores', lambda cores=cores: cores)
    compilation_cache.keep_compiled_programs()  # the second inherits the flags of the first
    users, folder, kind = os.environ['TF_XLA_FLAGS'].split()
    assert (users, kind) == ('--tf_xla_max_cluster_size=100', compilation_cache._OF_CPUS)
    folders.append(folder)
  assert folders[0] != folders[1]
  monkeypatch.setattr(compilation_cache, '_SPARE_BYTES', 2**60)  # nor where it can have none
  compilation_cache.keep_compiled_programs()
  assert os.environ['TF_XLA_FLAGS'] == '--tf_xla_max_cluster_size=100'


def test_a_cache_that_can_not_be_had_is_done_without(cache, monkeypatch):
  cache.parent.write_text('a file where the folder should be')
  compilation_cache.keep_compiled_programs()
  assert os.environ['TF_XLA_FLAGS'] == '--tf_xla_max_cluster_size=100'
  cache.parent.unlink()
  monkeypatch.setattr(compilation_cache, '_SPARE_BYTES', 2**60)  # a disk that is nearly full
  compilation_cache.keep_compiled_programs()
  assert os.environ['TF_XLA_FLAGS'] == '--tf_xla_max_cluster_size=100'


def test_what_is_broken_or_long_unused_goes(cache, monkeypatch):
  monkeypatch.setattr(compilation_cache, '_MOST_BYTES', 1000)
  empty = _old_file(cache / 'a' / 'empty.pb', 0, days=0)
  part = _old_file(cache / 'a' / 'part.tmp', 10, days=1)
  oldest = _old_file(cache / 'a' / 'oldest.pb', 600, days=3)
  older = _old_file(cache / 'b' / 'older.pb', 600, days=2)
  new = _old_file(cache / 'b' / 'new.pb', 300, days=0)
  in_the_making = _old_file(cache / 'b' / 'new.tmp', 0, days=0)
  compilation_cache.keep_compiled_programs()
  assert not any(path.exists() for path in (empty, part, oldest))
  assert all(path.exists() for path in (older, new, in_the_making))
