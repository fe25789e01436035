"""The best open-loop action sequence of a noiseless system at horizon H.

    maximise J(a) = sum_t r_t   over a in [-1, 1]^(H m)

by L-BFGS-B from many starts: random ones, families that hold the known shapes
(constant, bang-bang with one switch), the solution of a shorter horizon stretched
in time, dynamic programming where there is one state, and for HIV treatment the
best clip pattern. The value of every answer is its roll-out in the system itself.
Nothing here proves a global optimum; `dynamic_programming` checks one-state systems.
"""

import dataclasses

import numpy as np
import scipy.optimize

from asm_tf.optimal_control import clip_patterns, dynamic_programming
from asm_tf.optimal_control.objective import Objective, make_objective, rolled_out_return
from asm_tf.systems.double_pendulum import DoublePendulum
from asm_tf.systems.myriad.hiv_treatment import HIVTreatment
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from asm_tf.systems.one_bounce import OneBounce
from asm_tf.systems.system import System
from asm_tf.systems.toy_credit_assignment import ToyCreditAssignment

RANDOM_STARTS = 6
ROUGH_ITERATIONS = 100


@dataclasses.dataclass(frozen=True)
class Optimum:
  """A solution: its return, its actions [H, m], how it was found, and a local rival.

  `robust` is the best that plain L-BFGS-B finds where a better but fragile solution
  exists (`HIVTreatment`), else None.
  """
  value: float
  actions: np.ndarray
  method: str
  robust: float | None = None


def solve(system: System, warm_start: np.ndarray | None = None, starts: int = RANDOM_STARTS,
          seed: int = 0) -> Optimum:
  """The optimum of a `System` in tf.float64.

  Args:
    system: any system of the registry, noiseless.
    warm_start: [H', m] actions of another horizon, or None.
    starts: number of random starts of L-BFGS-B.
    seed: of the random starts.

  Returns:
    An `Optimum`.
  """
  if isinstance(system, (ToyCreditAssignment, OneBounce, DoublePendulum)):
    return _first_action_only(system)
  if isinstance(system, InvasivePlant):
    return _patch_by_patch(system, warm_start, starts, seed)
  optimum = _many_starts(system, warm_start, starts, seed)
  if not isinstance(system, HIVTreatment) or not clip_patterns.is_needed(system):
    return optimum
  found = clip_patterns.search(system)
  if found is None:
    return optimum
  _, plan = found
  candidates = [plan, ascend(make_objective(system), plan)]
  value, actions = max(((rolled_out_return(system, a), a) for a in candidates),
                       key=lambda pair: pair[0])
  if value <= optimum.value:
    return optimum
  return Optimum(value, actions, 'IPOPT over clip patterns, then L-BFGS-B', optimum.value)


def ascend(objective: Objective, actions: np.ndarray, iterations: int = 1000) -> np.ndarray:
  """A local maximum [H, m] of `make_objective`'s function near `actions` [H, m]."""
  shape = np.shape(actions)

  def loss(flat):
    value, gradient = objective(flat.reshape(1, *shape))
    return -value[0], -gradient.ravel()

  result = scipy.optimize.minimize(
      loss, np.ravel(actions), jac=True, method='L-BFGS-B',
      bounds=[(-1.0, 1.0)] * np.size(actions),
      options={'maxiter': iterations, 'maxcor': 20, 'ftol': 1e-15, 'gtol': 1e-9})
  return np.clip(result.x, -1, 1).reshape(shape)


def stretch_in_time(actions: np.ndarray, horizon: int) -> np.ndarray:
  """Actions [H', m] of one horizon interpolated in time to [horizon, m]."""
  old = (np.arange(len(actions)) + 0.5) / len(actions)
  new = (np.arange(horizon) + 0.5) / horizon
  return np.stack([np.interp(new, old, column) for column in np.transpose(actions)], -1)


def one_switch_sequences(horizon: int, action_size: int) -> np.ndarray:
  """All bang-bang sequences with at most one switch, [2 (H + 1), H, m]."""
  low_then_high = np.where(np.arange(horizon) < np.arange(horizon + 1)[:, None], -1.0, 1.0)
  both = np.concatenate([low_then_high, -low_then_high])
  return np.repeat(both[..., None], action_size, -1)


def _many_starts(system, warm_start, starts, seed):
  horizon, size = system.horizon, system.action_size
  objective = make_objective(system)
  constants = np.linspace(-1, 1, 41)[:, None, None] * np.ones((1, horizon, size))
  families = [constants, one_switch_sequences(horizon, size)]
  candidates = [('constant', constants[i]) for i in (10, 20, 30)]
  for name, family in zip(('constant', 'one switch'), families, strict=True):
    best = np.argsort(-objective(family)[0])[:2]
    candidates += [(name, family[i]) for i in best]
  rng = np.random.default_rng(seed)
  candidates += [('random', rng.uniform(-1, 1, (horizon, size))) for _ in range(starts)]
  if warm_start is not None:
    candidates.append(('shorter horizon', stretch_in_time(warm_start, horizon)))
  if system.state_size == size == 1:
    candidates.append(('dynamic programming', dynamic_programming.solve(system)[1]))
  rough = [(objective(a[None])[0][0], name, a) for name, start in candidates
           for a in (start, ascend(objective, start, ROUGH_ITERATIONS))]
  best = sorted(rough, key=lambda item: -item[0])[:2]
  fine = [(rolled_out_return(system, a), name, a) for _, name, found in best
          for a in (found, ascend(objective, found))]
  value, name, actions = max(fine, key=lambda item: item[0])
  return Optimum(value, actions, f'L-BFGS-B, {len(candidates)} starts, best from: {name}')


def _patch_by_patch(system, warm_start, starts, seed):
  """The plant's patches share nothing: the sum of five optima is the optimum."""
  parts = []
  for i, size in enumerate(system.start):
    patch = type('Patch', (InvasivePlant,), {
        'start': (size,), 'state_bounds': system.state_bounds[i:i + 1],
        'control_bounds': system.control_bounds[i:i + 1]})(system.horizon, system.dtype)
    warm = None if warm_start is None else np.asarray(warm_start)[:, i:i + 1]
    parts.append(_many_starts(patch, warm, starts, seed))
  actions = np.concatenate([part.actions for part in parts], -1)
  method = 'patch by patch: ' + '; '.join(dict.fromkeys(part.method for part in parts))
  return Optimum(rolled_out_return(system, actions), actions, method)


def _first_action_only(system):
  """The toy systems: all depends on a_0; the other actions are best at 0."""
  def with_first(first):
    return np.concatenate([[[first]], np.zeros((system.horizon - 1, 1))])

  def loss(first):
    return -rolled_out_return(system, with_first(first))

  if isinstance(system, DoublePendulum):
    first, method = system.goal_action, 'the goal action itself'
  elif isinstance(system, ToyCreditAssignment):
    first, method = 0.5, 'closed form'
  else:
    grid = np.linspace(-1, 1, 81)
    near = grid[np.argmin([loss(first) for first in grid])]
    first = scipy.optimize.minimize_scalar(
        loss, bounds=(max(-1, near - 0.05), min(1, near + 0.05)), method='bounded',
        options={'xatol': 1e-12}).x
    method = 'grid and Brent over the first action'
  actions = with_first(first)
  return Optimum(rolled_out_return(system, actions), actions, method)
