"""Compiled functions of a batch, spread over the replicas of a strategy and the cores of a CPU.

The mean over a batch, of a loss or of a gradient, is the mean of the means over equal
shares of it. A replica of a tf.distribute strategy is given a share; the gradients are
averaged, and every replica applies the same mean, so that N of them do what one device
does with the whole batch. Within a replica on a CPU, XLA runs a loop of small matrix
products on one core, but TensorFlow starts compiled functions that do not wait for each
other at once: each is given a part of the share, or several in turn where a large one
would not fit the cache.
"""

import contextlib

import tensorflow as tf
from tensorflow.python.eager import context

from asm_tf.cores import usable_cores
from asm_tf.errors import UserError
from asm_tf.models.sequence_model import has_accelerator

_SMALLEST_PART = 8  # trajectories; with fewer, the steps of a loop cost more than their products


def compiled(function, jit_compile=True):
  """The function as one XLA program, or as it is."""
  if not jit_compile:
    return function
  return tf.function(function, jit_compile=True, autograph=False)


def in_parts(function, parts, rows_at_once=None):
  """A function of batches as its values on equal parts of them, whose mean is its value.

  The mean is left to whoever uses it (`mean_of`), within the program that does so: apart it is
  many small steps of TensorFlow's, a tenth of the time of a short update.

  Args:
    function: tensors [B, ...] -> nest of tensors, each a mean over the batch.
    parts: how many at the least; there are fewer where they do not divide the batch or
      would hold less than eight of it.
    rows_at_once: on a CPU there are more, down to eight rows each, until none has more
      rows than this; None for no more.

  Returns:
    A function of the same arguments; a list of values, one a part.
  """
  def values_of_parts(*batches):
    count = _number_of_parts(batches[0].shape[0], parts, rows_at_once)
    return [function(*part) for part in zip(*(tf.split(batch, count) for batch in batches))]

  return values_of_parts


def mean_of(values):
  """The mean of a list of nests alike, a nest."""
  return tf.nest.map_structure(lambda *means: tf.add_n(means) / len(values), *values)


def _number_of_parts(size, parts, rows_at_once):
  """See `in_parts`."""
  if rows_at_once is not None and not has_accelerator():
    parts = max(parts, -(-size // max(1, rows_at_once)))
  return max(n for n in range(1, max(1, min(parts, size // _SMALLEST_PART)) + 1) if size % n == 0)


def in_replicas(function, strategy):
  """A function of batches as the mean of its values on the replicas' shares of them.

  Args:
    function: tensors [B, ...] -> list of nests of tensors of one dtype, whose mean is a mean
      over the batch, as `in_parts` makes it.
    strategy: tf.distribute strategy, whose number of replicas divides B; None for none.

  Returns:
    A function of the same arguments and a list with the same mean, to be called outside the
    replicas.
  """
  if strategy is None:
    return function

  def mean_of_replicas(*batches):
    nest = None

    def on_replica(*batches):
      nonlocal nest
      nest = tf.nest.map_structure(  # dense: the gradient of a gather is not
          tf.convert_to_tensor, mean_of(function(*map(replica_share, batches))))
      # One tensor, so that the replicas wait for each other once.
      return tf.concat([tf.reshape(value, [-1]) for value in tf.nest.flatten(nest)], 0)

    packed = strategy.reduce('MEAN', strategy.run(on_replica, batches), axis=None)
    values = tf.nest.flatten(nest)
    pieces = tf.split(packed, [value.shape.num_elements() for value in values])
    return [tf.nest.pack_sequence_as(
        nest, [tf.reshape(piece, value.shape) for piece, value in zip(pieces, values)])]

  return mean_of_replicas


def replica_share(batch):
  """What the replica that asks is to take of a batch [B, ...]: [B / replicas, ...]."""
  replica = tf.distribute.get_replica_context()
  size = batch.shape[0] // replica.num_replicas_in_sync
  begin = replica.replica_id_in_sync_group * size
  # A slice of a size that is known: on a TPU `begin` is a tensor, and XLA wants to know shapes.
  return tf.slice(batch, [begin, *[0] * (len(batch.shape) - 1)], [size, *batch.shape[1:]])


def variables_of(strategy):
  """A context in which variables are made that every replica of a strategy, or None, has."""
  return contextlib.nullcontext() if strategy is None else strategy.scope()


def require_shares(strategy, **sizes):
  """Raises `UserError` unless batches of these sizes can be shared among the replicas."""
  replicas = 1 if strategy is None else strategy.num_replicas_in_sync
  for name, size in sizes.items():
    if size % replicas:
      raise UserError(f'{name} is {size}, which {replicas} replicas can not share: give a '
                      f'multiple of {replicas}.')


def default_parts(strategy=None):
  """A part for each core that a replica here may use; one where there is an accelerator.

  TF_NUM_INTRAOP_THREADS sets a limit: several runs that share a machine take turns no better
  than they share it.
  """
  if has_accelerator():
    return 1
  replicas = 1 if strategy is None else len(strategy.extended.worker_devices)
  return max(1, usable_cores() // replicas)


def _let_idle_threads_sleep():
  """Where every core has a part of the batch to work on, has idle threads sleep at once.

  By default TensorFlow's threads look for work in a loop before they sleep, and take the
  cores' time from the parts: an eighth of an LSTM's policy update on two cores. With cores
  to spare that loop is a gain. TensorFlow 2 has no function to say so; it takes effect where
  no tensor has been made yet.
  """
  config = tf.compat.v1.ConfigProto()
  config.experimental.disable_thread_spinning = True
  context.context()._config = config  # pylint: disable=protected-access


if usable_cores() <= 2:
  _let_idle_threads_sleep()
