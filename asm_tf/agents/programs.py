"""Compiled functions of a batch, side by side on the cores of a CPU.

XLA runs a loop of small matrix products on one core. TensorFlow starts compiled
functions that do not wait for each other at once: each is given a part of the batch, and
the mean over the batch, of a loss or of a gradient, is the mean of the parts' means.
"""

import os

import tensorflow as tf

_SMALLEST_PART = 8  # trajectories; with fewer, the steps of a loop cost more than their products


def compiled(function, jit_compile=True):
  """The function as one XLA program, or as it is."""
  if not jit_compile:
    return function
  return tf.function(function, jit_compile=True, autograph=False)


def in_parts(function, most_parts):
  """A function of batches as the mean of its values on equal parts of them.

  Args:
    function: tensors [B, ...] -> nest of tensors, each a mean over the batch.
    most_parts: largest number of parts; there are fewer where they do not divide the
      batch or would hold less than eight of it.

  Returns:
    A function of the same arguments and value.
  """
  def mean_of_parts(*batches):
    size = batches[0].shape[0]
    parts = max(n for n in range(1, max(1, min(most_parts, size // _SMALLEST_PART)) + 1)
                if size % n == 0)
    values = [function(*part) for part in zip(*(tf.split(batch, parts) for batch in batches))]
    return tf.nest.map_structure(lambda *means: tf.add_n(means) / parts, *values)

  return mean_of_parts


def default_parts():
  """A part for each core that this process may use; one where there is an accelerator.

  TF_NUM_INTRAOP_THREADS, which TensorFlow reads too, sets a limit: several runs that share a
  machine take turns no better than they share it.
  """
  if tf.config.list_logical_devices('GPU') or tf.config.list_logical_devices('TPU'):
    return 1
  cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  return min(cores, int(os.environ.get('TF_NUM_INTRAOP_THREADS', 0)) or cores)
