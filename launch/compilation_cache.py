"""XLA's programs on a CPU, kept on the disk: whoever compiles one anew waits twice as long.

TensorFlow offers this (`--tf_xla_persistent_cache_directory`) and leaves to its users what a
program depends on besides its own text, how much is kept, and whether it is still whole: of a
damaged program it makes an error of the run. Loaded programs run as fast as compiled ones, to the
same bits.
"""

import atexit
import contextlib
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import time
import zlib

from asm_tf.cores import usable_cores

_MOST_BYTES = 2**30
_SPARE_BYTES = 2**28  # TensorFlow gives up where it can not write a program
_SECONDS_IN_USE = 3600
_OF_CPUS = '--tf_xla_persistent_cache_device_types=CPU'
_CHECKSUM = '.crc32'  # what the file beside a program is called that holds its checksum


def keep_compiled_programs() -> None:
  """Has TensorFlow keep its programs, unless TF_XLA_FLAGS says where or the disk is full.

  To be called before TensorFlow compiles, and after whatever sets XLA_FLAGS.
  """
  try:
    caches = os.environ.get('XDG_CACHE_HOME') or pathlib.Path('~/.cache').expanduser()
    root = pathlib.Path(caches, 'asm_tf', 'xla')
    # A process that this one began with may have other threads, and so other programs.
    inherited = rf'--\S+_directory={re.escape(str(root))}/\S+ {_OF_CPUS}'
    flags = re.sub(inherited, '', os.environ.get('TF_XLA_FLAGS', '')).strip()
    if 'persistent_cache' in flags:
      return
    os.environ['TF_XLA_FLAGS'] = flags
    folder = root / _key()
    root.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)  # what lies there is run
    _prune(root)
    _drop_damaged(folder)
    usable = os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid()
    usable &= not any(map(str.isspace, str(folder)))  # TensorFlow splits its flags there
    if not usable or shutil.disk_usage(folder).free < _SPARE_BYTES:
      return
  except (OSError, RuntimeError, importlib.metadata.PackageNotFoundError):  # no home, a nightly
    return
  os.environ['TF_XLA_FLAGS'] = (
      f'{flags} --tf_xla_persistent_cache_directory={folder} {_OF_CPUS}'.strip())
  atexit.register(functools.partial(_write_checksums, folder))


def _key():
  """What a program depends on: TensorFlow, the kind of CPU, threads and flags."""
  parts = [importlib.metadata.version('tensorflow'), _cpu(), str(usable_cores()),
           os.environ.get('XLA_FLAGS', '')]
  return hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:16]


def _cpu():
  """A text that CPUs of one kind share."""
  try:
    first = pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8').split('\n\n')[0].splitlines()
  except OSError:
    return platform.processor()
  kinds = ('vendor_id', 'cpu family', 'model', 'model name', 'flags', 'Features', 'CPU part')
  return '\n'.join(line for line in first if line.split(':')[0].strip() in kinds)


def _drop_damaged(folder):
  """Deletes programs that do not match their checksum; they are compiled anew.

  One without a checksum is of a run that goes on, or that was killed.
  """
  for program in list(folder.glob('*.pb')):
    try:
      expected = _checksum_file(program).read_text(encoding='utf-8')
    except FileNotFoundError:
      expected = None
    except (OSError, ValueError):
      expected = ''  # damaged itself
    try:
      is_damaged = program.is_dir() or (
          time.time() - program.stat().st_mtime > _SECONDS_IN_USE if expected is None
          else _checksum(program) != expected)
    except FileNotFoundError:  # another run deletes too
      continue
    except OSError:
      is_damaged = True
    if is_damaged:
      shutil.rmtree(program) if program.is_dir() else program.unlink(missing_ok=True)
  for checksum in folder.glob(f'*{_CHECKSUM}'):
    if not checksum.with_suffix('').exists():
      checksum.unlink(missing_ok=True)


def _write_checksums(folder):
  """Writes the checksums of the programs that have none; nothing depends on its success."""
  with contextlib.suppress(OSError):
    for program in folder.glob('*.pb'):
      if not _checksum_file(program).exists():
        draft = program.with_name(f'{program.name}{_CHECKSUM}.{os.getpid()}.tmp')
        draft.write_text(_checksum(program), encoding='utf-8')
        draft.replace(_checksum_file(program))


def _checksum_file(program):
  return program.with_name(program.name + _CHECKSUM)


def _checksum(program):
  value, status = 0, program.stat()
  with program.open('rb') as file:
    while block := file.read(2**20):
      value = zlib.crc32(block, value)
  with contextlib.suppress(OSError):  # to check a program is not to use it
    os.utime(program, ns=(status.st_atime_ns, status.st_mtime_ns))
  return f'{value:08x}'


def _prune(root):
  """Deletes broken programs, and those longest unused where all take more than a GiB."""
  kept, now = [], time.time()
  for path in root.glob('*/*'):
    try:
      status = path.stat()
      age = now - max(status.st_atime, status.st_mtime)
      is_part = path.suffix == '.tmp'  # it is renamed once it is whole
      if is_part and age > _SECONDS_IN_USE or not is_part and status.st_size == 0:
        path.unlink()  # the run, or the machine, was stopped
      else:
        kept.append((age, status.st_size, path))
    except FileNotFoundError:  # another run deletes too
      continue
  total = sum(size for _, size, _ in kept)
  for age, size, path in sorted(kept, reverse=True):
    if total <= _MOST_BYTES or age < _SECONDS_IN_USE:  # another run may be reading it
      return
    path.unlink(missing_ok=True)
    total -= size
