"""Scaling of states to zero mean and unit variance, and of time to periodic features.

States differ in scale by 10^4 between systems, and time runs to 500: without normalisation
a policy saturates at its first update. Optimal controls jump from one step to the next at
the start, at the end and at a switch, which a network that is given only t / H is slow to
learn. Time is given as 2 t / H - 1 and as sin and cos of 2^k pi t / H for several k.
"""

import copy
import math

import tensorflow as tf

from asm_tf.errors import UserError, require_positive
from asm_tf.models.observed_range import ObservedRange
from asm_tf.models.running_moments import RunningMoments

_OCTAVES = 5  # of time; at H = 500 the fastest wave lasts 62 steps


class Normalizer(tf.Module):
  """Streaming normalisation of states and time, shared by model and policy.

  Attributes:
    horizon: H.
    margin: see the constructor.
  """

  def __init__(self, state_size: int, horizon: int, enabled: bool = True,
               dtype: tf.DType = tf.float32, margin: float | None = None,
               time_aware: bool = True):
    """Builds the normaliser.

    Args:
      state_size: n.
      horizon: H, the step that time is scaled by.
      enabled: True scales states and time; False leaves them as they are, as in the
        paper.
      dtype: of the running moments.
      margin: how far imagined states may leave the range that was observed, in units of its
        width, on either side; None does not bound them.
      time_aware: False gives no time features.
    """
    super().__init__(name='normalizer')
    if margin is not None:
      require_positive(**{'Normalizer.margin': margin})
      if not enabled:
        raise UserError('Normalizer.margin bounds states to the range that was observed, which is '
                        'not kept with Normalizer.enabled = False: set Normalizer.margin = None.')
    self._moments = RunningMoments(state_size, dtype)
    self._differences = RunningMoments(state_size, dtype, name='differences')
    self._range = ObservedRange(state_size, dtype)
    self.horizon = horizon
    self._enabled = enabled
    self.margin = margin
    self._dtype = dtype
    self._time_aware = time_aware
    self._octaves = _OCTAVES

  def without_time(self, horizon: int) -> 'Normalizer':
    """Returns this normaliser, its moments shared, for sequences of `horizon` steps of any time."""
    shared = copy.copy(self)
    shared.horizon, shared._time_aware = horizon, False
    return shared

  def resolving_steps(self) -> 'Normalizer':
    """Returns this normaliser, its moments shared, with waves of time down to 5 steps or fewer.

    They tell every step from the next at any H, which a model without memory needs.
    """
    shared = copy.copy(self)
    shared._octaves = max(_OCTAVES, (4 * self.horizon // 5).bit_length())
    return shared

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
    self._range.update(rows, seen)

  def normalize(self, states: tf.Tensor) -> tf.Tensor:
    """Returns states [..., n] in units of their spread."""
    return (states - self._moments.mean) / self._moments.std if self._enabled else states

  def denormalize(self, states: tf.Tensor) -> tf.Tensor:
    """The inverse of `normalize`."""
    return states * self._moments.std + self._moments.mean if self._enabled else states

  def in_state_spreads(self, differences: tf.Tensor) -> tf.Tensor:
    """Returns differences [..., n] between states, such as errors, in units of their spread."""
    return differences / self._moments.std if self._enabled else differences

  def denormalize_difference(self, differences: tf.Tensor) -> tf.Tensor:
    """Returns differences [..., n] of successive states, given in units of such differences'."""
    return differences * self._differences.std if self._enabled else differences

  def bound(self, states: tf.Tensor) -> tf.Tensor:
    """Bounds states [..., n] smoothly to the observed range and the margin around it."""
    return states if self.margin is None else self._range.bound(states, self.margin)

  @property
  def enabled(self) -> bool:
    """Whether states and time are scaled."""
    return self._enabled

  @property
  def time_size(self) -> int:
    """Number of time features."""
    if not self._time_aware:
      return 0
    return 1 + 2 * self._octaves if self._enabled else 1

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
    if self._time_aware:
      parts = *parts, self.time(t)
    return tf.concat([part + zeros for part in parts], -1)

  def time(self, t: tf.Tensor | int) -> tf.Tensor:
    """Returns the time features [..., time_size] of the integer steps `t` [...]."""
    t = tf.cast(t, self._dtype)[..., None]
    if not self._enabled:
      return t
    angles = t / self.horizon * tf.constant(
        [math.pi * 2**k for k in range(self._octaves)], self._dtype)
    return tf.concat([2 * t / self.horizon - 1, tf.sin(angles), tf.cos(angles)], -1)


def _as_rows(states, mask):
  """[N, n] and [N] of states [..., n] and a mask [...]."""
  return tf.reshape(states, [-1, states.shape[-1]]), tf.reshape(mask, [-1])
