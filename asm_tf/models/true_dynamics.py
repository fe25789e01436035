"""The true dynamics as a world model: the paper's M-RNN (Proposition 1).

What is differentiated through it is the simulator's own gradient: the oracle of the
gradient laboratory, and a competitor of the learned models.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from asm_tf.errors import UserError
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.systems.system import System


class TrueDynamics(SequenceModel):
  """A `System`, without noise, behind the contract of the world models; nothing to train."""

  def __init__(self, system: System, first_step: tf.Tensor | int = 0):
    """Wraps the system; its sequences begin at `first_step`, [B] or one for all."""
    super().__init__(name='true_dynamics', dtype=system.dtype)
    self._system = system
    self._first_step = first_step

  def starting_at(self, first_step: tf.Tensor) -> 'TrueDynamics':
    """Returns the dynamics of sequences that begin at `first_step` [B]."""
    return TrueDynamics(self._system, first_step)

  def start(self, initial_state: tf.Tensor, horizon: int) -> tf.Tensor:
    return initial_state

  def step(self, carry: tf.Tensor, action: tf.Tensor,
           t: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    state = self._system.step(carry, action, self._first_step + t)
    return state, state


def make_true_dynamics(normalizer: Normalizer, state_size: int, action_size: int,
                       system: Callable[[int], Any], horizon: int) -> TrueDynamics:
  """Returns `TrueDynamics`, by the arguments of the constructors of learned models.

  Args:
    normalizer: not used.
    state_size: not used.
    action_size: not used.
    system: class of `System`; of any other, there are no equations.
    horizon: H.
  """
  simulator = system(horizon)
  if not simulator.is_differentiable:
    raise UserError(f'the dynamics of {simulator.name} are not known as equations: choose a '
                    'learned world model, such as gin/models/lstm.gin.')
  return TrueDynamics(simulator)
