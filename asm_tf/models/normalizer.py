"""Scaling of states to zero mean and unit variance, and of time to periodic features.

States differ in scale by 10^4 between systems, and time runs to 500: without normalisation
a policy saturates at its first update. Optimal controls jump from one step to the next at
the start, at the end and at a switch, which a network that is given only t / H is slow to
learn. Time is given as t / H and as sin and cos of 2^k pi t / H for several k.
"""

import math

import tensorflow as tf

from asm_tf.models.running_moments import RunningMoments

_OCTAVES = 5


class Normalizer(tf.Module):
  """Streaming normalisation of states and time, shared by model and policy."""

  def __init__(self, state_size: int, horizon: int, enabled: bool = True,
               dtype: tf.DType = tf.float32):
    """Builds the normaliser.

    Args:
      state_size: n.
      horizon: H, the step that time is scaled by.
      enabled: True scales states, time and returns; False leaves them as they are, as in the
        paper.
      dtype: of the running moments.
    """
    super().__init__(name='normalizer')
    self._moments = RunningMoments(state_size, dtype)
    self.horizon = horizon
    self._enabled = enabled
    self._dtype = dtype

  def update(self, states: tf.Tensor, mask: tf.Tensor | None = None) -> None:
    """Takes the states [..., n] of new episodes, where `mask` [...] is true, into the moments."""
    if self._enabled:
      self._moments.update(tf.reshape(states, [-1, states.shape[-1]]),
                           None if mask is None else tf.reshape(mask, [-1]))

  def normalize(self, states: tf.Tensor) -> tf.Tensor:
    """Returns states [..., n] in units of their spread."""
    return (states - self._moments.mean) / self._moments.std if self._enabled else states

  def denormalize(self, states: tf.Tensor) -> tf.Tensor:
    """The inverse of `normalize`."""
    return states * self._moments.std + self._moments.mean if self._enabled else states

  @property
  def enabled(self) -> bool:
    """Whether states and time are scaled."""
    return self._enabled

  @property
  def time_size(self) -> int:
    """Number of time features."""
    return 1 + 2 * _OCTAVES if self._enabled else 1

  def join(self, *parts: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
    """Concatenates features with the time features of the integer steps `t`.

    Args:
      *parts: tensors [..., k]; the last sets the leading shape, which the others and
        `t` broadcast to.
      t: integer steps.

    Returns:
      [..., sum of k + time_size].
    """
    zeros = tf.zeros_like(parts[-1][..., :1])
    return tf.concat([part + zeros for part in (*parts, self.time(t))], -1)

  def time(self, t: tf.Tensor | int) -> tf.Tensor:
    """Returns the time features [..., time_size] of the integer steps `t` [...]."""
    t = tf.cast(t, self._dtype)[..., None]
    if not self._enabled:
      return t
    angles = t / self.horizon * tf.constant(
        [math.pi * 2**k for k in range(_OCTAVES)], self._dtype)
    return tf.concat([2 * t / self.horizon - 1, tf.sin(angles), tf.cos(angles)], -1)
