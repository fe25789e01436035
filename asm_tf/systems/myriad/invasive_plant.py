"""Remove an invasive plant that spreads in several patches.

State: patch radii x, five of them. Control: the share u of each that is removed.

    x' = (x + k x / (eps + x)) (1 - u) - x,   cost = B sum(u^2),   terminal cost = sum(x)

The original problem is a yearly difference equation; as in the paper's code its
change over one year is used as a derivative.
"""

import tensorflow as tf

from asm_tf.systems.myriad.myriad_system import MyriadSystem


class InvasivePlant(MyriadSystem):
  start = (0.5, 1.0, 1.5, 2.0, 10.0)
  state_bounds = ((-float('inf'), float('inf')),) * 5
  control_bounds = ((0.0, 1.0),) * 5
  duration = 10.0

  effort = 1.0  # B
  spread = 1.0  # k
  small = 0.01  # eps

  def _derivative(self, state, control):
    grown = state + self.spread * state / (self.small + state)
    return grown * (1 - control) - state

  def _cost(self, state, control, time):
    return self.effort * tf.reduce_sum(control**2, -1)

  def _terminal_cost(self, state):
    return tf.reduce_sum(state, -1)
