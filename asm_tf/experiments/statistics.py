"""Statistics over runs, by rliable (Agarwal et al., 2021; the paper's Section 4.3).

Scores are normalised: 0 a uniform random policy, 1 the optimum. A matrix [seeds, systems]
holds a model's; intervals are of 95 % from a bootstrap over seeds within each system, whose draws
are the same every time, so that the same rows give the same table. Two seeds have few distinct
resamples: their intervals cover less than they say.
"""

import contextlib

import numpy as np

_REPETITIONS = 2000


def score_matrices(
    rows: list[dict],
    value: str = 'normalised_score') -> tuple[dict[str, np.ndarray], list[str], np.ndarray]:
  """{model: scores [seeds, systems, T]} of rows of one horizon.

  A model counts with the systems that every model has a run of, with the seeds that it has on
  all of them, and at the steps of `common_steps`. What is not finite is -inf, worse than any
  other run.

  Args:
    rows: of `training_runs`, of one horizon.
    value: name of the curve.

  Returns:
    The matrices, the systems in order, and the environment steps [T].
  """
  runs: dict[str, dict[str, dict[int, dict]]] = {}
  for row in rows:
    runs.setdefault(label(row), {}).setdefault(row['system'], {})[row['seed']] = row
  shared = [system for system in dict.fromkeys(row['system'] for row in rows)
            if all(system in found for found in runs.values())]
  steps = common_steps([row for row in rows if row['system'] in shared])
  matrices = {}
  for model, found in runs.items():
    seeds = sorted(set.intersection(*(set(found[system]) for system in shared))) if shared else []
    if seeds and steps:
      scores = np.array(
          [[[at_step(found[system][seed], step, value) for step in steps] for system in shared]
           for seed in seeds], np.float64)
      matrices[model] = np.where(np.isnan(scores), -np.inf, scores)
  return matrices, shared, np.array(steps)


def common_steps(rows: list[dict]) -> list[int]:
  """The environment steps at which runs are compared: those of the shortest, in order.

  Of the other runs the nearest evaluations count (`at_step`): where episodes have no common length
  evaluations come some steps after they fall due, and runs may differ in their eval_interval.
  A run that ended early counts, beyond its end, as one that is not finite.
  """
  whole = [row for row in rows if not row.get('ended_early')] or rows
  return min((row['env_steps'] for row in whole), key=lambda steps: steps[-1], default=[])


def at_step(row: dict, step: int, value: str) -> float | None:
  """The value of a row's curve at the evaluation nearest to an environment step.

  None where it is not finite, and beyond the end of a run that ended early.
  """
  steps = row['env_steps']
  if row.get('ended_early') and step > steps[-1]:
    return None
  return row[value][min(range(len(steps)), key=lambda i: abs(steps[i] - step))]


def label(row: dict) -> str:
  """What a table calls the model of a row: its gin files, and what else was bound."""
  model = row['model'].removeprefix('myriad_').replace('+models/', '_').replace('+agents/', ' + ')
  return f'{model} ({row["variation"]})' if row.get('variation') else model


def interquartile_means(
    matrices: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Interquartile means over seeds and systems, with intervals.

  Args:
    matrices: {model: [seeds, systems, T]}.

  Returns:
    {model: (means [T], lower ends [T], upper ends [T])}.
  """
  return _estimates(matrices, _interquartile_mean)


def performance_profiles(
    matrices: dict[str, np.ndarray],
    thresholds: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """The share of runs that score above each threshold, with intervals.

  Args:
    matrices: {model: [seeds, systems, T]}; the last evaluation counts.
    thresholds: [K].

  Returns:
    {model: (shares [K], lower ends [K], upper ends [K])}.
  """
  return _estimates(
      {model: scores[..., -1] for model, scores in matrices.items()},
      lambda scores: np.mean(scores[..., None] > thresholds, axis=(0, 1)))


def probability_of_improvement(scores: np.ndarray, others: np.ndarray) -> float:
  """P(a run of the first scores above one of the second on the same system), ties as a half.

  Args:
    scores: [seeds, systems] of the first.
    others: [seeds, systems] of the second.
  """
  from rliable import metrics  # late; see _estimates
  return float(metrics.probability_of_improvement(scores, others))


def _interquartile_mean(scores):
  """rliable's aggregate_iqm of [seeds, systems, T] at every t at once, without SciPy's checks.

  A bootstrap calls it thousands of times.
  """
  ordered = np.sort(scores.reshape(-1, scores.shape[-1]), axis=0)
  cut = len(ordered) // 4
  return np.mean(ordered[cut:len(ordered) - cut], axis=0)


def _estimates(matrices, measure):
  """{name: (measure, lower ends, upper ends)} by rliable's stratified bootstrap.

  The ends are NaN where there is one seed.
  """
  # Importing rliable takes seconds, and training has no need of it.
  from rliable import library
  found = {}
  with _numpy_state_kept(), np.errstate(invalid='ignore'):  # between two -inf
    for model, scores in matrices.items():
      if len(scores) == 1:  # no spread to draw from
        points = measure(scores)
        found[model] = points, *np.full([2, *points.shape], np.nan)
        continue
      np.random.seed(0)
      points, intervals = library.get_interval_estimates(
          {model: scores}, measure, reps=_REPETITIONS)
      found[model] = points[model], *intervals[model]
  return found


@contextlib.contextmanager
def _numpy_state_kept():
  """Keeps NumPy's global state, from which rliable draws whatever `random_state` it is given."""
  state = np.random.get_state()
  try:
    yield
  finally:
    np.random.set_state(state)
