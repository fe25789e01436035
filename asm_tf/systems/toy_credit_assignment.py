"""Toy credit assignment: one action, rewarded H steps later (paper, F.1).

State: the stored first action and a distractor. The first action is copied into
the state, stays there, and is rewarded at the end; every other action is asked
to match the distractor.

    r_0 = 0,   r_t = -(s^distractor_t - a_t)^2 / H,
    r_{H-1} = max(-20 (s^stored_{H-1} - 1/2)^2 + 10, -10)

The paper prints the short-term reward without its minus sign; this is the sign
that its code has.
"""

import math

import tensorflow as tf

from asm_tf.errors import require_not_negative
from asm_tf.systems.system import System


class ToyCreditAssignment(System):
  start = (0.0, 0.0)
  state_bounds = ((-float('inf'), float('inf')),) * 2
  control_bounds = ((-1.0, 1.0),)
  dt = 1.0

  def __init__(self, horizon: int, dtype: tf.DType = tf.float32, process_noise: float = 0.0,
               distractors: int = 0, distractor_std: float = 0.0):
    """See `System`.

    Args:
      distractor_std: standard deviation (the paper's sigma) of the distractor in
        the state, drawn anew at every step that is given `noise`; the paper uses 0.
    """
    super().__init__(horizon, dtype, process_noise, distractors)
    require_not_negative(distractor_std=distractor_std)
    self.distractor_std = distractor_std

  @property
  def is_stochastic(self) -> bool:
    return super().is_stochastic or self.distractor_std > 0

  def _transition(self, state, action, t):
    stored = tf.where(tf.equal(t, 0)[..., None], action, state[..., :1])
    return tf.concat([stored, tf.zeros_like(stored)], -1)

  def step(self, state: tf.Tensor, action: tf.Tensor, t: tf.Tensor | int,
           noise: tf.Tensor | None = None) -> tf.Tensor:
    next_state = super().step(state, action, t, noise)
    if noise is None:
      return next_state
    # The same draw as the process noise's: together they are one normal variable.
    more = math.hypot(self.process_noise, self.distractor_std) - self.process_noise
    return next_state + more * noise * tf.one_hot(1, self.state_size, dtype=self.dtype)

  def _reward(self, state, action, t):
    immediate = -(state[..., 1] - action[..., 0]) ** 2 / self.horizon
    final = tf.maximum(-20 * (state[..., 0] - 0.5) ** 2 + 10, -10)
    reward = tf.where(tf.equal(t, 0), tf.zeros_like(immediate), immediate)
    return tf.where(tf.equal(t, self.horizon - 1), final, reward)
