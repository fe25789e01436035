"""The CPU: its kind, and how many of its cores this process may use."""

import os
import pathlib
import re


def usable_cores() -> int:
  """Returns the number of cores, at most TF_NUM_INTRAOP_THREADS, which TensorFlow reads too."""
  has_affinity = hasattr(os, 'sched_getaffinity')
  cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
  limit = os.environ.get('TF_NUM_INTRAOP_THREADS', '').strip()
  return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


def kind_of_cpu() -> str:
  """Returns the name of this machine's CPU and its widest vector instructions; '' if unknown."""
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8')
  except OSError:
    return ''
  names = re.findall(r'^model name\s*: (.*)$', text, re.MULTILINE)[:1]
  return ' '.join(names + re.findall(r'avx512f|avx2', text)[-1:])
