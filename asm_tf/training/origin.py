"""Where a number comes from: code, libraries and machine."""

import contextlib
import datetime
import importlib.metadata
import shlex
import subprocess
import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tf_agents
import tf_keras

import asm_tf
from asm_tf import gin_files
from asm_tf.cores import kind_of_cpu

# Numbers depend on these too, where they are installed.
_OTHERS = ('tensorflow-probability', 'scipy', 'gymnasium', 'mujoco')


def command() -> str:
  """Returns the command line of this process."""
  return shlex.join(['python', *sys.orig_argv[1:]])


def versions() -> dict[str, str]:
  """Returns {package: version} of what a result depends on."""
  others = {}
  for name in _OTHERS:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      others[name] = importlib.metadata.version(name)
  return {'asm_tf': asm_tf.__version__,
          'python': sys.version.split()[0], 'tensorflow': tf.__version__,
          'tf_keras': tf_keras.__version__, 'tf_agents': tf_agents.__version__,
          'numpy': np.__version__, **others}


def commit() -> dict[str, Any]:
  """Returns the checkout's commit and whether its files differ from it; {} outside a checkout."""
  def git(*arguments):
    return subprocess.run(['git', '-C', str(gin_files.BASE), *arguments], capture_output=True,
                          text=True, check=True, timeout=10).stdout.strip()

  try:
    if not (gin_files.BASE / '.git').exists():
      return {}
    return {'commit': git('rev-parse', 'HEAD'),
            'changed': bool(git('status', '--porcelain', '--untracked-files=no'))}
  except (OSError, subprocess.SubprocessError):
    return {}


def machine() -> dict[str, Any]:
  """Returns the day, the kind of CPU, and the accelerators that TensorFlow sees."""
  details = tf.config.experimental.get_device_details
  devices = [details(device).get('device_name', device.device_type)
             for kind in ('GPU', 'TPU') for device in tf.config.list_physical_devices(kind)]
  return {'date': datetime.date.today().isoformat(), 'cpu': kind_of_cpu(), 'accelerators': devices}


def origin() -> dict[str, Any]:
  """Returns all of it."""
  return {'versions': versions(), **commit(), **machine()}
