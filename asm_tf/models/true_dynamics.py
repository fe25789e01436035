"""The true dynamics as a world model: the paper's M-RNN (Proposition 1).

What is differentiated through it is the simulator's own gradient: the oracle of the
gradient laboratory, and a competitor of the learned models.
"""

from asm_tf.errors import UserError
from asm_tf.models.sequence_model import SequenceModel


class TrueDynamics(SequenceModel):
  """A `System`, without noise, behind the contract of the world models; nothing to train."""

  def __init__(self, system):
    super().__init__(name='true_dynamics', dtype=system.dtype)
    self._system = system

  def start(self, initial_state, horizon):
    return initial_state

  def step(self, carry, action, t):
    state = self._system.step(carry, action, t)
    return state, state


def make_true_dynamics(normalizer, state_size, action_size, system, horizon):
  """`TrueDynamics` by the constructor that the learned models have.

  Args:
    normalizer: not used.
    state_size: not used.
    action_size: not used.
    system: class of `System`.
    horizon: H.
  """
  system = system(horizon)
  if not system.is_differentiable:
    raise UserError(f'the dynamics of {system.name} are not known as equations: choose a learned '
                    'world model, such as gin/models/lstm.gin.')
  return TrueDynamics(system)
