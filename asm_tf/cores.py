"""How many CPU cores this process may use."""

import os


def usable_cores():
  """Those that it may run on, at most TF_NUM_INTRAOP_THREADS, which TensorFlow reads too."""
  cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  return min(cores, int(os.environ.get('TF_NUM_INTRAOP_THREADS') or 0) or cores)
