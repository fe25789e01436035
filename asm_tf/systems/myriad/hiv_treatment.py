"""Treat HIV with a drug that slows the infection of cells.

State: uninfected cells x, infected cells y, virus v. Control: u in [0, 1], the
share of infection that is let through; the drug's strength is 1 - u.

    x' = s / (1 + v) - m_1 x + r x (1 - (x + y) / X_max) - u k v x
    y' = u k v x - m_2 y
    v' = N m_2 y - m_3 v,   cost = (1 - u)^2 - A x
"""

import tensorflow as tf

from asm_tf.systems.myriad.myriad_system import MyriadSystem


class HIVTreatment(MyriadSystem):
  start = (800.0, 0.04, 1.5)
  state_bounds = ((0.0, 1600.0), (0.0, 100.0), (0.0, 100.0))
  control_bounds = ((0.0, 1.0),)
  duration = 20.0

  supply = 10.0  # s
  death_uninfected = 0.02  # m_1
  death_infected = 0.5  # m_2
  death_virus = 4.4  # m_3
  growth = 0.03  # r
  capacity = 1500.0  # X_max
  infection = 2.4e-5  # k
  burst = 300.0  # N
  benefit = 0.05  # A

  def _derivative(self, state, control):
    uninfected, infected, virus = tf.unstack(state, axis=-1)
    newly_infected = control[..., 0] * self.infection * virus * uninfected
    crowding = 1 - (uninfected + infected) / self.capacity
    return tf.stack([
        self.supply / (1 + virus) - self.death_uninfected * uninfected
        + self.growth * uninfected * crowding - newly_infected,
        newly_infected - self.death_infected * infected,
        self.burst * self.death_infected * infected - self.death_virus * virus,
    ], -1)

  def _cost(self, state, control, time):
    return (1 - control[..., 0]) ** 2 - self.benefit * state[..., 0]
