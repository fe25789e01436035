"""Normalised scores: 0 is the uniform random policy, 1 the optimum at the same horizon.

The numbers stand in `optima.json` beside this module, made by `python -m launch.solve`.
They describe the systems with their default constructor arguments, without noise and
distractors.
"""

import dataclasses
import functools
import json
import pathlib

import numpy as np
import tensorflow as tf

from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.systems.registry import SYSTEMS
from asm_tf.systems.rollout import simulate
from asm_tf.systems.system import System

TABLE = pathlib.Path(__file__).with_name('optima.json')


@dataclasses.dataclass(frozen=True)
class Reference:
  """The returns that a normalised score is measured against.

  Attributes:
    random: mean return of the uniform random policy.
    random_se: standard error of that mean.
    optimal: the best known return of the noiseless system.
    actions: [H, m] in [-1, 1], the sequence that has it (float64).
    robust_optimal: the best return that plain gradient ascent finds, where the optimum
      is so fragile that it lies out of its reach (HIVTreatment at H = 20), else None.
  """
  random: float
  random_se: float
  optimal: float
  actions: np.ndarray
  robust_optimal: float | None = None


def reference(system_name: str, horizon: int) -> Reference | None:
  """Returns the stored `Reference` of a system at a horizon, or None where there is none."""
  row = read_table().get(system_name, {}).get(str(horizon))
  if row is None:
    return None
  return Reference(row['random'], row['random_se'], row['optimal'],
                   np.array(row['actions'], np.float64), row.get('robust_optimal'))


def reference_for(system: System | GymnasiumSystem) -> Reference | None:
  """Returns the `Reference` of a system, or None where its parameters are not the stored ones.

  Nor has a class of another module one that only bears the name of a stored system.
  """
  stored = reference(system.name, system.horizon)
  if stored is None or SYSTEMS.get(system.name) is not type(system):
    return None
  default = type(system)(system.horizon, dtype=system.dtype)
  return stored if repr(vars(system)) == repr(vars(default)) else None


def optimal_trajectory(system: System | GymnasiumSystem) -> tuple[np.ndarray, np.ndarray] | None:
  """Rolls the stored optimum out: (states [H+1, n], actions [H, m]), or None."""
  best = reference_for(system)
  if best is None or not isinstance(system, System):
    return None
  states, _ = simulate(system, tf.constant(best.actions[None], system.dtype))
  return states[0].numpy(), best.actions


def normalised_score(returns: float | np.ndarray, reference: Reference) -> float | np.ndarray:
  """Returns (J - random) / (optimal - random) for one or many returns J."""
  return (returns - reference.random) / (reference.optimal - reference.random)


@functools.cache
def read_table() -> dict:
  """Returns {system: {str(H): row}} as stored."""
  if not TABLE.exists():
    return {}
  return json.loads(TABLE.read_text(encoding='utf-8'))['systems']
