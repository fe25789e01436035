"""Sell timber now or re-invest it in a growing operation.

State: timber produced per unit of time x. Control: the share u that is re-invested.

    x' = k x u,   cost = -exp(-r t) x (1 - u)
"""

import tensorflow as tf

from asm_tf.systems.myriad.myriad_system import MyriadSystem


class TimberHarvest(MyriadSystem):
  start = (100.0,)
  state_bounds = ((0.0, 20000.0),)
  control_bounds = ((0.0, 1.0),)
  duration = 5.0

  discount = 0.0  # r
  growth = 1.0  # k

  def _derivative(self, state, control):
    return self.growth * state * control

  def _cost(self, state, control, time):
    return -tf.exp(-self.discount * time) * state[..., 0] * (1 - control[..., 0])
