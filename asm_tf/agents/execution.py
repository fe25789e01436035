"""How updates run: compiled by XLA, in microbatches on a CPU's cores, in shards on replicas.

The mean over a batch, of a loss or of a gradient, is the mean of the means over equal parts
of it. Every replica of a tf.distribute strategy takes a shard; the gradients are averaged,
and every replica applies the same mean, so that N replicas do what one device does with the
whole batch. Within a replica on a CPU, XLA runs a loop of small matrix products on one core,
but TensorFlow starts independent compiled functions at once: each takes a microbatch of the
shard, or several in turn where a large one would not fit the core's cache.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context

from asm_tf.cores import usable_cores
from asm_tf.errors import UserError, require_at_least
from asm_tf.models.products import set_product_dtype
from asm_tf.models.unrolling import has_accelerator

# A nest of tensors, each a mean over a batch.
Means = Any

_MIN_MICROBATCH = 8  # trajectories; with fewer, the steps of a loop cost more than their products


class Execution:
  """What a learner needs to know of the machine: compiler, cores and replicas.

  Attributes:
    strategy: tf.distribute strategy whose replicas share every batch; None for one device.
    jit_compile: whether XLA compiles updates and, on a CPU, episodes of a system.
  """

  def __init__(self, strategy: tf.distribute.Strategy | None = None, jit_compile: bool = True,
               microbatches: int | None = None, product_dtype: str = 'float32'):
    """Describes the machine, and sets the precision of what is traced from now on.

    Args:
      strategy: see the class.
      jit_compile: see the class.
      microbatches: the number of microbatches of a replica's shard whose gradients are formed
        side by side; None for one per CPU core.
      product_dtype: 'float32' or 'bfloat16', of the products inside learned models
        (asm_tf/models/products.py).
    """
    if microbatches is not None:
      require_at_least(1, microbatches=microbatches)
    set_product_dtype(product_dtype)
    self.strategy = strategy
    self.jit_compile = jit_compile
    self._microbatches = _default_microbatches(strategy) if microbatches is None else microbatches

  def creating_variables(self) -> contextlib.AbstractContextManager:
    """Returns a context in which new variables exist on every replica."""
    return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

  def require_shardable(self, name: str, size: int, remedy: str | None = None) -> None:
    """Raises `UserError` unless the replicas can share a batch equally.

    Args:
      name: of the batch, as the user knows it.
      size: of the batch.
      remedy: what to give instead; None for a multiple of the replicas.
    """
    replicas = 1 if self.strategy is None else self.strategy.num_replicas_in_sync
    if size % replicas:
      raise UserError(f'{name} is {size}, which {replicas} replicas cannot share equally: give '
                      f'{remedy or f"a multiple of {replicas}"}.')

  def gradient_program(self, function: Callable[..., Means],
                       microbatch_size: int | None = None) -> Callable[..., list[Means]]:
    """Compiles a mean over a batch, to run in shards and microbatches.

    The last mean, over microbatches, is left to the program that uses it (`mean_of`): apart
    it is many small TensorFlow kernels, a tenth of the time of a short update.

    Args:
      function: tensors [B, ...] -> nest of tensors of one dtype, each a mean over the batch.
      microbatch_size: on a CPU, the number of rows above which a microbatch is split further
        (down to eight rows); None for no limit.

    Returns:
      A function of the same arguments; a list of nests whose mean is the mean over the batch.
    """
    function = self.compiled(function, self.jit_compile)

    def on_microbatches(*batch):
      count = microbatch_count(batch[0].shape[0], self._microbatches, microbatch_size)
      parts = zip(*(tf.split(tensor, count) for tensor in batch), strict=True)
      return [function(*part) for part in parts]

    if self.strategy is None:
      return on_microbatches
    return _on_replicas(on_microbatches, self.strategy)

  def update_program(self, function: Callable) -> Callable:
    """Compiles a function that updates variables.

    With a strategy it stays uncompiled: the replicas' assignments are not one XLA program.
    """
    return self.compiled(function, self.jit_compile and self.strategy is None)

  def apply_if_finite(self, optimizer: tf.keras.optimizers.Optimizer,
                      gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable],
                      clip_norm: float | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies gradients unless their global norm is not finite (float32: above 1.8e19).

    Clipping by the global norm alone would turn an infinite gradient into NaN.

    Args:
      optimizer: built Keras optimiser.
      gradients: one tensor per variable, to descend.
      variables: what they update, on every replica alike.
      clip_norm: largest global norm; None for no limit.

    Returns:
      The global norm before clipping, and whether the update was applied.
    """
    norm = tf.linalg.global_norm(gradients)
    finite = tf.math.is_finite(norm)
    if clip_norm is not None:
      gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)

    def on_replica(gradients):
      optimizer.apply_gradients(
          zip(gradients, variables, strict=True), skip_gradients_aggregation=True)

    def apply():
      if self.strategy is None:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
      else:
        self.strategy.run(on_replica, [gradients])
      return True

    return norm, tf.cond(finite, apply, lambda: False)

  def adam(self, learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule,
           variables: Sequence[tf.Variable]) -> tf.keras.optimizers.Optimizer:
    """Returns Adam, built for these variables."""
    with self.creating_variables():
      # The whole update is compiled; Keras need not compile each variable's apart.
      optimizer = tf.keras.optimizers.Adam(learning_rate, jit_compile=False)
      optimizer.build(variables)
    return optimizer

  def compiled(self, function: Callable, jit_compile: bool) -> Callable:
    """Returns the function, compiled by XLA or as it is: all programs of an agent are made here.

    Args:
      function: of nests of tensors.
      jit_compile: whether to compile it.
    """
    return tf.function(function, jit_compile=True, autograph=False) if jit_compile else function


def mean_of(microbatches: Sequence[Means]) -> Means:
  """Returns the mean of what a gradient program returned, a nest."""
  return tf.nest.map_structure(
      lambda *means: tf.add_n(means) / len(microbatches), *microbatches)


def microbatch_count(size: int, microbatches: int, microbatch_size: int | None) -> int:
  """Returns into how many equal microbatches a batch of `size` rows is split.

  Args:
    size: rows of the batch.
    microbatches: the least number, unless it does not divide the batch or would leave fewer
      than eight rows.
    microbatch_size: the largest size on a CPU, down to eight rows; None for no limit.
  """
  if microbatch_size is not None and not has_accelerator():
    microbatches = max(microbatches, -(-size // max(1, microbatch_size)))
  most = max(1, min(microbatches, size // _MIN_MICROBATCH))
  return max(count for count in range(1, most + 1) if size % count == 0)


def replica_shard(batch: tf.Tensor) -> tf.Tensor:
  """Returns the shard [B / replicas, ...] of a batch [B, ...] that the calling replica takes."""
  replica = tf.distribute.get_replica_context()
  size = batch.shape[0] // replica.num_replicas_in_sync
  begin = replica.replica_id_in_sync_group * size
  # A slice of static size: on a TPU `begin` is a tensor, and XLA needs static shapes.
  return tf.slice(batch, [begin, *[0] * (len(batch.shape) - 1)], [size, *batch.shape[1:]])


def _on_replicas(function, strategy):
  """A function of batches as the mean of its values on the replicas' shards, in a list."""
  def mean_of_replicas(*batch):
    nest = None

    def on_replica(*batch):
      nonlocal nest
      nest = tf.nest.map_structure(  # dense: the gradient of a gather is not
          tf.convert_to_tensor, mean_of(function(*map(replica_shard, batch))))
      # One tensor, so that the replicas wait for each other once.
      return tf.concat([tf.reshape(value, [-1]) for value in tf.nest.flatten(nest)], 0)

    packed = strategy.reduce('MEAN', strategy.run(on_replica, batch), axis=None)
    values = tf.nest.flatten(nest)
    pieces = tf.split(packed, [value.shape.num_elements() for value in values])
    return [tf.nest.pack_sequence_as(nest, [
        tf.reshape(piece, value.shape) for piece, value in zip(pieces, values, strict=True)])]

  return mean_of_replicas


def _default_microbatches(strategy):
  """One per core that a replica on this machine may use; one where there is an accelerator.

  TF_NUM_INTRAOP_THREADS sets a limit: several runs that share a machine gain nothing from
  competing for its cores.
  """
  if has_accelerator():
    return 1
  replicas = 1 if strategy is None else len(strategy.extended.worker_devices)
  return max(1, usable_cores() // replicas)


def _disable_thread_spinning():
  """Where every core has a microbatch to work on, puts idle threads to sleep at once.

  By default TensorFlow's threads spin before they sleep, and take the cores' time from the
  microbatches: an eighth of an LSTM's policy update on two cores. With cores to spare,
  spinning is a gain. TensorFlow 2 has no public function for it; it takes effect where no
  tensor has been made yet.
  """
  config = tf.compat.v1.ConfigProto()
  config.experimental.disable_thread_spinning = True
  context.context()._config = config


if usable_cores() <= 2:
  _disable_thread_spinning()
