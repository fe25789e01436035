"""Grow bacteria with a nutrient whose by-product hinders growth.

State: bacteria concentration x. Control: nutrient u.

    x' = r x + A u x - B u^2 exp(-x),   cost = u^2,   terminal cost = -C x
"""

import tensorflow as tf

from asm_tf.systems.myriad.myriad_system import MyriadSystem


class Bacteria(MyriadSystem):
  start = (1.0,)
  state_bounds = ((0.0, 10.0),)
  control_bounds = ((0.0, 2.0),)
  duration = 1.0

  growth = 1.0  # r
  nutrition = 1.0  # A
  by_product = 12.0  # B
  benefit = 1.0  # C

  def _derivative(self, state, control):
    growth = self.growth * state + self.nutrition * control * state
    return growth - self.by_product * control**2 * tf.exp(-state)

  def _cost(self, state, control, time):
    return control[..., 0] ** 2

  def _terminal_cost(self, state):
    return -self.benefit * state[..., 0]
