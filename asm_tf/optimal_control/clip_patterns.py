"""HIV treatment's optimum, by choosing when the virus is clipped at zero.

With a long step dt the Euler discretisation is unstable (1 - m_3 dt = -3.4 at
H = 20): a virus count v_{t+1} that would be negative is clipped to 0, and beyond
each clip lies another smooth problem. Gradient ascent in the clipped system can
not cross from one to the next. So: for a given pattern of clips the problem is
smooth, and IPOPT solves it with the states as unknowns (single shooting loses
all digits to the factor 3.4 a step); then a search over patterns.

    maximise sum_t r_t  over u, s   subject to, with w_{t+1} = v_t + dt v'(s_t):
      v_{t+1} = 0 and w_{t+1} <= 0 where pattern[t], else v_{t+1} = w_{t+1} >= 0

No two clips follow each other, since w_{t+2} = N m_2 y_{t+1} dt > 0 after a clip.
This is the one place that writes dynamics a second time, as CasADi expressions;
the answer is judged by its roll-out in the real `System`.
"""

import itertools
from collections.abc import Iterator, Sequence

import casadi
import numpy as np

from asm_tf.systems.myriad.hiv_treatment import HIVTreatment

SCALE = np.array([800.0, 0.01, 1.0])  # of the states, for IPOPT


class ClipPatterns:
  """IPOPT for one `HIVTreatment` in float64, built once for all clip patterns."""

  def __init__(self, system: HIVTreatment):
    self.system = system
    self.growth_rate = 1 - system.death_virus * system.dt  # of v without infected cells
    self.yield_rate = system.burst * system.death_infected * system.dt  # of v from y
    self._solver, self._bounds = self._build()

  def solve(self, pattern: Sequence[bool]) -> tuple[float, np.ndarray] | None:
    """The best controls under one pattern of clips.

    Args:
      pattern: H booleans; pattern[t] says that v_{t+1} is clipped.

    Returns:
      (value, controls [H]) of the plan, or None where IPOPT finds no solution.
    """
    controls, states = self._feasible_start(pattern)
    solution = self._solver(
        x0=np.concatenate([controls, (states[1:] / SCALE).ravel()]),
        p=np.array(pattern, np.float64), **self._bounds)
    if not self._solver.stats()['success']:
      return None
    controls = np.clip(np.array(solution['x'])[:self.system.horizon, 0], 0, 1)
    states = np.array(solution['x'])[self.system.horizon:, 0].reshape(-1, 3) * SCALE
    return -float(solution['f']), self._track(controls, states[:, 2])

  def _build(self):
    horizon = self.system.horizon
    controls = casadi.SX.sym('u', horizon)
    pattern = casadi.SX.sym('pattern', horizon)
    unknowns = casadi.SX.sym('s', 3, horizon)
    state, value, equations, inequalities = casadi.DM(self.system.start), 0, [], []
    for t in range(horizon):
      value += self._reward(state, controls[t])
      ahead = state + self.system.dt * self._derivative(state, controls[t])
      inequalities.append(ahead[2] * (1 - 2 * pattern[t]))
      ahead[2] *= 1 - pattern[t]
      state = unknowns[:, t] * casadi.DM(SCALE)
      equations.append((ahead - state) / casadi.DM(SCALE))
    problem = {'x': casadi.vertcat(controls, casadi.vec(unknowns)), 'p': pattern, 'f': -value,
               'g': casadi.vertcat(*equations, *inequalities)}
    bounds = {
        'lbx': np.zeros(4 * horizon),
        'ubx': np.concatenate([np.ones(horizon), np.full(3 * horizon, np.inf)]),
        'lbg': np.zeros(4 * horizon),
        'ubg': np.concatenate([np.zeros(3 * horizon), np.full(horizon, np.inf)])}
    options = {'ipopt.print_level': 0, 'ipopt.sb': 'yes', 'print_time': False,
               'ipopt.max_iter': 150, 'ipopt.tol': 1e-9}
    return casadi.nlpsol('hiv', 'ipopt', problem, options), bounds

  def _derivative(self, state, control):
    """`HIVTreatment._derivative` of a [3] vector, without TensorFlow."""
    system = self.system
    uninfected, infected, virus = state[0], state[1], state[2]
    newly_infected = control * system.infection * virus * uninfected
    crowding = 1 - (uninfected + infected) / system.capacity
    return casadi.vertcat(
        system.supply / (1 + virus) - system.death_uninfected * uninfected
        + system.growth * uninfected * crowding - newly_infected,
        newly_infected - system.death_infected * infected,
        system.burst * system.death_infected * infected - system.death_virus * virus)

  def _reward(self, state, control):
    return (self.system.benefit * state[0] - (1 - control) ** 2) * self.system.dt

  def _next(self, state, control):
    ahead = state + self.system.dt * np.array(self._derivative(state, control))[:, 0]
    return np.clip(ahead, self.system.state_low, self.system.state_high)

  def _feasible_start(self, pattern):
    """Controls [H] and states [H+1, 3] that show the pattern, where they can."""
    controls, states = np.ones(self.system.horizon), [np.array(self.system.start)]
    for t in range(self.system.horizon):
      virus = self._next(states[-1], 0)[2]
      clipped = t + 1 < self.system.horizon and pattern[t + 1]
      controls[t] = self._control_for(states[-1], -1e-3 if clipped else virus / 2 + 1e-4, 1.0)
      states.append(self._next(states[-1], controls[t]))
    return controls, np.array(states)

  def _track(self, plan, virus):
    """Controls [H] near `plan` whose real roll-out keeps to the planned virus [H].

    Errors of 1e-9 in the plan would grow by 3.4 a step; each control with room
    to move steers v_{t+2} back onto the plan.
    """
    controls, state = plan.copy(), np.array(self.system.start)
    for t in range(self.system.horizon):
      is_inner = 1e-6 < plan[t] < 1 - 1e-6
      if is_inner and t + 1 < self.system.horizon and virus[t + 1] > 1e-9:
        controls[t] = self._control_for(state, virus[t + 1], plan[t])
      state = self._next(state, controls[t])
    return controls

  def _control_for(self, state, virus_after_next, otherwise):
    """The control that makes w_{t+2} as asked, as near as [0, 1] allows."""
    system = self.system
    virus = self._next(state, 0)[2]
    infected = (virus_after_next - self.growth_rate * virus) / self.yield_rate
    influence = system.dt * system.infection * state[2] * state[0]
    if influence < 1e-12:
      return otherwise
    return np.clip((infected - (1 - system.death_infected * system.dt) * state[1]) / influence,
                   0, 1)


def is_needed(system: HIVTreatment) -> bool:
  """True where the step is so long that a virus without infected cells turns negative."""
  return system.death_virus * system.dt > 1


def search(system: HIVTreatment) -> tuple[float, np.ndarray] | None:
  """The best pattern: smooth until t = k, then a clip every other step; then its neighbours.

  Returns:
    (value, actions [H, 1]) of the best plan, whose roll-out may be a little lower; None where
    the solver fails for every pattern.
  """
  patterns = ClipPatterns(system)
  known = {}

  def value(pattern):
    if pattern not in known:
      known[pattern] = patterns.solve(pattern) or (-np.inf, None)
    return known[pattern][0]

  horizon = system.horizon
  best = max((tuple(t > k and (t - k) % 2 == 1 for t in range(horizon))
              for k in range(horizon)), key=value)
  while True:
    candidate = max(neighbours(best), key=value)
    if value(candidate) <= value(best) + 1e-9:
      break
    best = candidate
  if not np.isfinite(value(best)):
    return None
  return value(best), 2 * known[best][1][:, None] - 1


def neighbours(pattern: Sequence[bool]) -> Iterator[tuple[bool, ...]]:
  """Patterns that differ by one clip more, one less, or one moved by up to three steps."""
  for t in range(1, len(pattern)):
    changes = [(t,)] + [(t, other) for other in range(max(1, t - 3), t)
                        if pattern[t] != pattern[other]]
    for change in changes:
      changed = tuple(clip ^ (s in change) for s, clip in enumerate(pattern))
      if not any(a and b for a, b in itertools.pairwise(changed)):
        yield changed
