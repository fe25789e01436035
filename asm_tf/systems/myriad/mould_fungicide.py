"""Keep a mould population small with a costly fungicide.

State: mould concentration x. Control: fungicide u.

    x' = r (M - x) - u x,   cost = A x^2 + u^2
"""

from asm_tf.systems.myriad.myriad_system import MyriadSystem


class MouldFungicide(MyriadSystem):
  start = (1.0,)
  state_bounds = ((0.0, 5.0),)
  control_bounds = ((0.0, 5.0),)
  duration = 5.0

  growth = 0.3  # r
  capacity = 10.0  # M
  burden = 10.0  # A

  def _derivative(self, state, control):
    return self.growth * (self.capacity - state) - control * state

  def _cost(self, state, control, time):
    return self.burden * state[..., 0] ** 2 + control[..., 0] ** 2
