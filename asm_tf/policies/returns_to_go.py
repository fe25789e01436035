"""Returns-to-go as a decision transformer sees them."""

import tensorflow as tf

from asm_tf.models.running_moments import RunningMoments


class ReturnsToGo(tf.Module):
  """The return to reach, and the units in which the model counts what is left of a return.

  A return-to-go G_t counts as (G_t - b_t) / scale, with b_t what the random policy still gets
  from step t on. Uncentred, what tells a good return from a bad one can be a fiftieth of the
  number (HIV treatment: 54 +- 1 in units of the spread), which also falls to 0 along the
  episode.
  """

  def __init__(self, target: float, scale: float, horizon: int, centered: bool = True):
    """Builds the unit.

    Args:
      target: the return to reach.
      scale: the spread of returns.
      horizon: H.
      centered: True subtracts b_t; False takes it as 0, as Zheng et al. do.
    """
    super().__init__(name='returns_to_go')
    self.target = tf.Variable(target, trainable=False, dtype=tf.float32, name='target')
    self._scale = tf.Variable(scale, trainable=False, dtype=tf.float32, name='scale')
    self._moments = RunningMoments(horizon)
    self._centered = centered

  def observe_random(self, rewards: tf.Tensor) -> None:
    """Takes rewards [B, H] of the random policy into b_t."""
    self._moments.update(tf.cumsum(rewards, 1, reverse=True))

  def normalize(self, to_go: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """Returns what the model sees, [B, L], of returns-to-go [B, L] at steps t [B, L]."""
    if self._centered:
      to_go -= tf.gather(self._moments.mean, t)
    return to_go / self._scale
