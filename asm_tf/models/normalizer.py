"""Scaling of states to zero mean and unit variance, and of time to periodic features.

States differ in scale by 10^4 between systems, and time runs to 500: without normalisation
a policy saturates at its first update. Optimal controls jump from one step to the next at
the start, at the end and at a switch, which a network that is given only t / H is slow to
learn. Time is given as t / H and as sin and cos of 2^k pi t / H for several k.
"""

import math

import tensorflow as tf

from asm_tf.errors import UserError, require_positive
from asm_tf.models.running_moments import RunningMoments

_OCTAVES = 5


class Normalizer(tf.Module):
  """Streaming normalisation of states and time, shared by model and policy."""

  def __init__(self, state_size: int, horizon: int, enabled: bool = True,
               dtype: tf.DType = tf.float32, margin: float | None = None):
    """Builds the normaliser.

    Args:
      state_size: n.
      horizon: H, the step that time is scaled by.
      enabled: True scales states, time and returns; False leaves them as they are, as in the
        paper.
      dtype: of the running moments.
      margin: how far imagined states may leave the range that was observed, in units of its
        width, on either side; None does not bound them.
    """
    super().__init__(name='normalizer')
    if margin is not None:
      require_positive(**{'Normalizer.margin': margin})
      if not enabled:
        raise UserError('Normalizer.margin bounds states to the range that was observed, which is '
                        'not kept with Normalizer.enabled = False: set Normalizer.margin = None.')
    self._moments = RunningMoments(state_size, dtype)
    self._differences = RunningMoments(state_size, dtype, name='differences')
    self._low = tf.Variable(tf.zeros([state_size], dtype), trainable=False, name='low')
    self._high = tf.Variable(tf.zeros([state_size], dtype), trainable=False, name='high')
    self._has_range = tf.Variable(False, trainable=False, name='has_range')
    self.horizon = horizon
    self._enabled = enabled
    self._margin = margin
    self._dtype = dtype

  def update(self, states: tf.Tensor, mask: tf.Tensor | None = None) -> None:
    """Takes new trajectories into the moments and the range.

    Args:
      states: [..., T+1, n], successive states.
      mask: [..., T+1], true where a state was visited; None where all were.
    """
    if not self._enabled:
      return
    visited = tf.fill(tf.shape(states)[:-1], True) if mask is None else mask
    differences = states[..., 1:, :] - states[..., :-1, :]
    rows, seen = _as_rows(states, visited)
    self._moments.update(rows, seen)
    self._differences.update(*_as_rows(differences, visited[..., 1:] & visited[..., :-1]))
    rows = tf.boolean_mask(rows, seen & tf.reduce_all(tf.math.is_finite(rows), -1))
    low, high = tf.reduce_min(rows, 0), tf.reduce_max(rows, 0)  # +-inf where there are none
    self._low.assign(tf.where(self._has_range, tf.minimum(self._low, low), low))
    self._high.assign(tf.where(self._has_range, tf.maximum(self._high, high), high))
    self._has_range.assign(True)

  def normalize(self, states: tf.Tensor) -> tf.Tensor:
    """Returns states [..., n] in units of their spread."""
    return (states - self._moments.mean) / self._moments.std if self._enabled else states

  def denormalize(self, states: tf.Tensor) -> tf.Tensor:
    """The inverse of `normalize`."""
    return states * self._moments.std + self._moments.mean if self._enabled else states

  def scale(self, differences: tf.Tensor) -> tf.Tensor:
    """Returns differences [..., n] of states in units of the states' spread."""
    return differences / self._moments.std if self._enabled else differences

  def denormalize_difference(self, differences: tf.Tensor) -> tf.Tensor:
    """Returns differences [..., n] of successive states, given in units of their spread."""
    return differences * self._differences.std if self._enabled else differences

  def bound(self, states: tf.Tensor) -> tf.Tensor:
    """Bounds states [..., n] smoothly to the observed range and a margin around it.

    Within the range it is the identity, and so is its gradient. Beyond it,
    s = high + w tanh((s - high) / w) with w = margin (high - low), and the same below.
    """
    if self._margin is None:
      return states
    width = self._margin * tf.where(self._high > self._low, self._high - self._low,
                                    tf.ones_like(self._high))
    inside = tf.clip_by_value(states, self._low, self._high)
    return inside + width * tf.tanh((states - inside) / width)

  @property
  def bounds_states(self) -> bool:
    """Whether `bound` does anything."""
    return self._margin is not None

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


def _as_rows(states, mask):
  """[N, n] and [N] of states [..., n] and a mask [...]."""
  return tf.reshape(states, [-1, states.shape[-1]]), tf.reshape(mask, [-1])
