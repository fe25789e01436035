"""Backward dynamic programming for systems with one state and one action.

    V_H = 0,   V_t(s) = max_a r(s, a, t) + V_{t+1}(step(s, a, t))

on a grid of states, the points between them by linear interpolation, and a grid of
actions. Global up to the grids' resolution, so it checks the local optimisers and
gives them a start; its answer is a roll-out in the real system, never V_0 itself.
"""

import numpy as np
import tensorflow as tf

from asm_tf.optimal_control.objective import rolled_out_return
from asm_tf.systems.system import System


def solve(system: System, state_points: int = 1000,
          action_points: int = 201) -> tuple[float, np.ndarray]:
  """The greedy roll-out of the grid's value functions.

  Args:
    system: a `System` in tf.float64 with n = m = 1.
    state_points: grid points over the states that can be reached at each t.
    action_points: grid points over [-1, 1].

  Returns:
    (return, actions [H, 1]) in the real system.
  """
  actions = np.linspace(-1, 1, action_points)
  grids = _state_grids(system, state_points, actions)
  values = [np.zeros(state_points)]  # V_H, then V_{H-1}, ...
  for t in range(system.horizon - 1, 0, -1):
    values.append(_action_values(system, grids[t], actions, t, grids[t + 1], values[-1]).max(1))
  fine_actions = np.linspace(-1, 1, 10 * (action_points - 1) + 1)
  state: np.ndarray = np.array(system.start)
  chosen: list[list[float]] = []
  for t in range(system.horizon):
    value = _action_values(system, state, fine_actions, t, grids[t + 1], values.pop())
    chosen.append([fine_actions[value[0].argmax()]])
    state = _step(system, state, np.array(chosen[-1]), t)[0]
  sequence = np.array(chosen)
  return rolled_out_return(system, sequence), sequence


def _state_grids(system, points, actions):
  """H+1 grids over the reachable states, denser at the low end, where V bends most."""
  spacing = np.linspace(0, 1, points) ** 2
  some = np.linspace(0, points - 1, 101).astype(int)
  grids = [np.full(points, system.start[0])]
  for t in range(system.horizon):
    reached = _step(system, grids[-1][some], actions, t)
    grids.append(reached.min() + (reached.max() - reached.min()) * spacing)
  return grids


def _action_values(system, states, actions, t, next_grid, next_values):
  """Q [K, M] of K states and M actions at step t."""
  pairs = _pairs(system, states, actions)
  next_states = system.step(*pairs, t).numpy()[..., 0]
  return system.reward(*pairs, t).numpy() + np.interp(next_states, next_grid, next_values)


def _step(system, states, actions, t):
  return system.step(*_pairs(system, states, actions), t).numpy()[..., 0]


def _pairs(system, states, actions):
  """Every state with every action, [K, M, 1] each."""
  states, actions = np.meshgrid(states, actions, indexing='ij')
  return tuple(tf.constant(x[..., None], system.dtype) for x in (states, actions))
