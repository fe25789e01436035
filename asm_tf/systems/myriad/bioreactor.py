"""Feed bacteria that degrade a contaminant.

State: bacteria concentration x. Control: feeding rate u.

    x' = G u x - D x^2,   cost = u - K x
"""

from asm_tf.systems.myriad.myriad_system import MyriadSystem


class Bioreactor(MyriadSystem):
  start = (0.5,)
  state_bounds = ((0.0, 1.0),)
  control_bounds = ((0.0, 1.0),)
  duration = 2.0

  benefit = 2.0  # K
  growth = 1.0  # G
  death = 1.0  # D

  def _derivative(self, state, control):
    return self.growth * control * state - self.death * state**2

  def _cost(self, state, control, time):
    return control[..., 0] - self.benefit * state[..., 0]
