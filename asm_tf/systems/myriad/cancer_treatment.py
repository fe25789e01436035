"""Chemotherapy: shrink a tumour while sparing the drug.

State: normalised tumour density x. Control: drug strength u.

    x' = r x log(1/x) - delta u x,   cost = a x^2 + u^2
"""

import tensorflow as tf

from asm_tf.systems.myriad.myriad_system import MyriadSystem


class CancerTreatment(MyriadSystem):
  start = (0.975,)
  state_bounds = ((1e-3, 1.0),)
  control_bounds = ((0.0, 2.0),)
  duration = 20.0

  growth = 0.3  # r
  burden = 3.0  # a
  dose_effect = 0.45  # delta

  def _derivative(self, state, control):
    return -self.growth * state * tf.math.log(state) - self.dose_effect * control * state

  def _cost(self, state, control, time):
    return self.burden * state[..., 0] ** 2 + control[..., 0] ** 2
