"""Scales of the world: states to zero mean and unit variance, time to waves.

States differ in scale by 10^4 between systems and time runs to 500; without
this a policy saturates at its first update. Optimal controls jump from one step
to the next at the start, at the end and at a switch, which a network fed with
t / H alone is slow to learn: time is given as t / H and as waves of several
octaves, sin and cos of 2^k pi t / H.
"""

import math

import tensorflow as tf

from asm_tf.models.running_moments import RunningMoments

_OCTAVES = 5


class Normalizer(tf.Module):
  """Streaming normalisation of states and time, shared by model and policy."""

  def __init__(self, state_size, horizon, enabled=True, dtype=tf.float32):
    """Builds the normaliser.

    Args:
      state_size: n.
      horizon: H, the step that time is scaled by.
      enabled: False passes states and time through unchanged, as in the paper.
      dtype: of the running moments.
    """
    super().__init__(name='normalizer')
    self._moments = RunningMoments(state_size, dtype)
    self.horizon = horizon
    self._enabled = enabled
    self._dtype = dtype

  def update(self, states, counted=None):
    """Takes in the states [..., n] of new episodes; of them those `counted` [...], if given."""
    if self._enabled:
      self._moments.update(tf.reshape(states, [-1, states.shape[-1]]),
                           None if counted is None else tf.reshape(counted, [-1]))

  def normalize(self, states):
    """States [..., n] in units of their spread."""
    return (states - self._moments.mean) / self._moments.std if self._enabled else states

  def denormalize(self, states):
    """The inverse of `normalize`."""
    return states * self._moments.std + self._moments.mean if self._enabled else states

  @property
  def time_size(self):
    """Number of time features."""
    return 1 + 2 * _OCTAVES if self._enabled else 1

  def join(self, *parts, t):
    """Concatenates features and the time features of the integer steps `t`.

    Args:
      *parts: tensors [..., k]; the last sets the leading shape, which the others and
        `t` broadcast to.
      t: integer steps.

    Returns:
      [..., sum of k + time_size].
    """
    zeros = tf.zeros_like(parts[-1][..., :1])
    return tf.concat([part + zeros for part in (*parts, self.time(t))], -1)

  def time(self, t):
    """The time features [..., time_size] of the integer steps `t` [...]."""
    t = tf.cast(t, self._dtype)[..., None]
    if not self._enabled:
      return t
    angles = t / self.horizon * tf.constant(
        [math.pi * 2**k for k in range(_OCTAVES)], self._dtype)
    return tf.concat([2 * t / self.horizon - 1, tf.sin(angles), tf.cos(angles)], -1)
