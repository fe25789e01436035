"""Systems that break, for `benchmarks/soak.py`; its gin files import this module."""

import os

import gin
import tensorflow as tf

from asm_tf.systems.myriad.cancer_treatment import CancerTreatment

# Set to anything, it breaks every episode; a resume without it is one after mending.
BROKEN = 'ASM_TF_SOAK_BROKEN'


@gin.register
class FaultyTreatment(CancerTreatment):
  """Cancer treatment whose state turns to NaN now and then: in about 7% of 10-step episodes."""

  def __init__(self, horizon):
    super().__init__(horizon, process_noise=0.001)

  def step(self, state, action, t, noise=None):
    following = super().step(state, action, t, noise)
    if noise is None:
      return following
    fails = noise[..., :1] > (-float('inf') if os.environ.get(BROKEN) else 2.45)
    return tf.where(fails, tf.constant(float('nan'), self.dtype), following)
