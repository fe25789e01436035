"""How many CPU cores this process may use."""

import os


def usable_cores() -> int:
  """Returns the number of cores, at most TF_NUM_INTRAOP_THREADS, which TensorFlow reads too."""
  has_affinity = hasattr(os, 'sched_getaffinity')
  cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
  return min(cores, int(os.environ.get('TF_NUM_INTRAOP_THREADS') or 0) or cores)
