"""Optimiser steps that a non-finite gradient cannot spoil."""

import tensorflow as tf


def apply_if_finite(optimizer, gradients, variables, clip_norm=None, strategy=None):
  """Applies the gradients unless their global norm is not finite (float32: above 1.8e19).

  Clipping by the global norm alone would turn an infinite gradient into NaN.

  Args:
    optimizer: built Keras optimiser.
    gradients: one tensor a variable (to descend).
    variables: what they update.
    clip_norm: largest global norm, or None.
    strategy: tf.distribute strategy on each of whose replicas the same gradients are
      applied to its copy of the variables, or None.

  Returns:
    The global norm before clipping, and whether the update was applied.
  """
  norm = tf.linalg.global_norm(gradients)
  finite = tf.math.is_finite(norm)
  if clip_norm is not None:
    gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)

  def on_replica(gradients):
    optimizer.apply_gradients(zip(gradients, variables), skip_gradients_aggregation=True)

  def apply():
    if strategy is None:
      optimizer.apply_gradients(zip(gradients, variables))
    else:
      strategy.run(on_replica, [gradients])
    return True

  return norm, tf.cond(finite, apply, lambda: False)
