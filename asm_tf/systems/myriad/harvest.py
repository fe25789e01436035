"""Harvest a dying vegetable population whose yield grows with time.

State: population x. Control: harvest rate u.

    x' = -(m + u) x,   cost = u^2 - A (k t / (t + 1)) x u
"""

from asm_tf.systems.myriad.myriad_system import MyriadSystem


class Harvest(MyriadSystem):
  start = (0.4,)
  state_bounds = ((-float('inf'), float('inf')),)
  control_bounds = ((0.0, 1.0),)
  duration = 10.0

  price = 5.0  # A
  max_mass = 10.0  # k
  death = 0.2  # m

  def _derivative(self, state, control):
    return -(self.death + control) * state

  def _cost(self, state, control, time):
    mass = self.max_mass * time / (time + 1)
    return control[..., 0] ** 2 - self.price * mass * state[..., 0] * control[..., 0]
