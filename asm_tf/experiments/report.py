"""Tables and pictures of a folder of training runs."""

import functools
import math
import statistics

import numpy as np
from matplotlib.figure import Figure

from asm_tf.experiments import statistics as run_statistics
from asm_tf.experiments.training_runs import CAUSES
from asm_tf.plots.scores import draw_with_intervals, styles

_LOWEST = {'normalised_score': -0.25, 'return': None}  # that a picture shows
# {cause: (its column, what it is)}.
_CAUSE_WORDS = {
    'validation_skill': ('skill', 'skill of the model on new episodes'),
    'policy_gradient_norm': ('norm', 'norm of its policy gradient'),
    'gradient_cosine': ('cosine', "cosine with the simulator's gradient"),
    'gradient_relative_error': ('distance', 'distance from that in units of its norm')}


def tables(rows: list[dict]) -> str:
  """A Markdown table of final scores for each horizon, and one of their causes where measured.

  Args:
    rows: of `training_runs`.
  """
  rows, parts = _distinct(rows), []
  for horizon, found in by_horizon(rows).items():
    parts += [_table(found, horizon), *_table_of_causes(found)]
  return '\n\n'.join(parts)


def pictures(rows: list[dict]) -> dict[str, Figure]:
  """{name: `Figure`}: interquartile means against steps and H, profiles, and each system.

  Args:
    rows: of `training_runs`; none has to be on a system with a stored optimum.
  """
  rows = _distinct(rows)
  value, ylabel, reference = measure(rows)
  look = styles(sorted({run_statistics.label(row) for row in rows}))  # in every picture the same
  draw = functools.partial(draw_with_intervals, look=look)
  curves, profiles = {}, {}
  by_h: dict[str, list[tuple]] = {}
  num_systems: dict[int | None, int] = {}
  num_seeds: list[int] = []
  for horizon, found in by_horizon(rows).items():
    matrices, shared, steps = _comparable(found, value)
    if not matrices:
      continue
    num_systems[horizon] = len(shared)
    num_seeds += map(len, matrices.values())
    means = run_statistics.interquartile_means(matrices)
    curves[_named(horizon)] = {model: (steps, *band) for model, band in means.items()}
    if horizon is not None:  # else there is no place for it on the axis
      for model, (middle, low, high) in means.items():
        by_h.setdefault(model, []).append((horizon, middle[-1], low[-1], high[-1]))
    if value == 'normalised_score':
      thresholds = np.linspace(-0.2, 1.0, 61)
      shares = run_statistics.performance_profiles(matrices, thresholds)
      profiles[_named(horizon)] = {model: (thresholds, *band) for model, band in shares.items()}
  drawn = {'systems': _draw_systems(rows, draw)}
  if not curves:
    return drawn
  sample = f'{_range(num_seeds, "seed")}, {_systems(num_systems)}'
  title = f'{sample}: interquartile mean'
  if max(num_seeds) > 1:
    title += ' and 95 % interval'
  drawn['curves'] = draw(
      curves, 'environment steps', ylabel, title, reference=reference, lowest=_LOWEST[value])
  if profiles:
    drawn['profiles'] = draw(
        profiles, 'score', 'share of runs above', f'{sample}: performance profile')
  numbers = sorted({horizon for points in by_h.values() for horizon, *_ in points})
  if len(numbers) > 1:
    drawn['horizons'] = draw(
        {'': {model: tuple(zip(*points, strict=True)) for model, points in by_h.items()}},
        'horizon H (steps)', ylabel, title, x_ticks=numbers, reference=reference,
        lowest=_LOWEST[value])
  return drawn


def _distinct(rows):
  """The rows without a variation or a system's gin file that all of them share."""
  shared: dict[str, str] = {}
  if len({row['variation'] for row in rows}) == 1:
    shared['variation'] = ''
  prefixes = {row['model'].partition('+models/')[0] for row in rows}
  has_prefix = len(prefixes) == 1 and all('+models/' in row['model'] for row in rows)
  return [row | shared | ({'model': row['model'].partition('+models/')[2]} if has_prefix else {})
          for row in rows]


def _comparable(rows, value):
  """`score_matrices`, without matrices where returns of several systems would mix."""
  matrices, shared, steps = run_statistics.score_matrices(rows, value)
  return (matrices if value == 'normalised_score' or len(shared) == 1 else {}), shared, steps


def _draw_systems(rows, draw):
  """One panel per system: the median over seeds and their range, against H or against steps.

  Runs of an environment's own length have no place on an axis of several H.
  """
  value, ylabel, reference = measure(rows)
  horizons = _horizons(rows)
  numbers = [horizon for horizon in horizons if horizon is not None]
  is_against_h = len(numbers) > 1
  cells: dict[str, dict[str, list[dict]]] = {}
  for row in rows:
    if row['horizon'] is not None or not is_against_h:
      cells.setdefault(row['system'], {}).setdefault(run_statistics.label(row), []).append(row)
  if is_against_h:
    last = {horizon: run_statistics.common_steps(found)[-1]
            for horizon, found in by_horizon(rows).items()}
    points = functools.partial(_values_at, last, value=value)
    against = {'xlabel': 'horizon H (steps)', 'x_ticks': numbers}
  else:
    points = functools.partial(_curves, value=value)
    against = {'xlabel': 'environment steps'}
  panels = {system: {model: _median_and_range(points(runs)) for model, runs in models.items()}
            for system, models in cells.items()}
  return draw(
      panels, ylabel=ylabel.removeprefix('IQM of the '), lowest=_LOWEST[value],
      title=(f'{_named(horizons[0])}: ' if len(horizons) == 1 else '')
      + f'median and range of {_seeds(rows)}', reference=reference, **against)


def _values_at(steps, runs, value):
  """{H: value of each run} after the steps {H: steps}."""
  return {horizon: [_number_of(run_statistics.at_step(run, steps[horizon], value))
                    for run in found] for horizon, found in by_horizon(runs).items()}


def _curves(runs, value):
  """{steps: value of each run}, on a straight line between two evaluations of a run.

  Where episodes end early, no two runs are evaluated after the same steps.
  """
  first = max(run['env_steps'][0] for run in runs)
  last = min(run['env_steps'][-1] for run in runs)
  steps = sorted({step for run in runs for step in run['env_steps'] if first <= step <= last})
  return dict(zip(steps, np.transpose(
      [np.interp(steps, run['env_steps'], _values(run, value)) for run in runs]), strict=True))


def _values(run, value):
  return list(map(_number_of, run[value]))


def _number_of(y):
  return math.nan if y is None else y


def _median_and_range(points):
  """{x: values} as (x, medians, lowest, highest)."""
  return tuple(zip(*((x, np.median(points[x]), np.min(points[x]), np.max(points[x]))
                     for x in sorted(points)), strict=True))


def measure(rows: list[dict]) -> tuple[str, str, float | None]:
  """Returns (curve, label, height of the optimum): scores where all systems have an optimum."""
  if all(map(_is_scored, rows)):
    return 'normalised_score', 'IQM of the score', 1.0
  return 'return', 'IQM of the return', None


def _is_scored(row):
  """Whether a run has scores where it has returns: a run that diverged has neither."""
  return (any(score is not None for score in row['normalised_score'])
          or all(value is None for value in row['return']))


def by_horizon(rows: list[dict]) -> dict[int | None, list[dict]]:
  """Returns {H: its rows}, in order of H."""
  return {horizon: [row for row in rows if row['horizon'] == horizon]
          for horizon in _horizons(rows)}


def _named(horizon):
  return "the environments' own H" if horizon is None else f'H = {horizon}'


def _horizons(rows):
  """In order, None, an environment's own, first."""
  return sorted({row['horizon'] for row in rows}, key=lambda horizon: horizon or 0)


def _table(rows, horizon):
  """One horizon: a line per model, a column per system, and the aggregate over all systems."""
  value, ylabel, _ = measure(rows)
  systems = list(dict.fromkeys(row['system'] for row in rows))
  last = run_statistics.common_steps(rows)[-1]
  matrices, shared, steps_of_shared = _comparable(rows, value)
  # The systems that all models share may have been trained further than the others.
  column = np.argmin(np.abs(steps_of_shared - last)) if matrices else 0
  matrices = {model: scores[..., [column]] for model, scores in matrices.items()}
  means = run_statistics.interquartile_means(matrices)
  best = max(means, key=lambda model: means[model][0][-1], default=None)
  lines = [f'{_named(horizon)}, after {last:,} environment steps: median over seeds (lowest '
           'to highest).']
  if best:
    lines[0] += (f' {ylabel} over {", ".join(shared)}, 95 % interval; P: probability that a run '
                 f'is better than one of {best}.')
  shortest, longest = (choose(rows, key=lambda row: row['env_steps'][-1]) for choose in (min, max))
  if longest['env_steps'][-1] >= 2 * max(1, shortest['env_steps'][-1]):
    lines[0] += (f' That is as far as {run_statistics.label(shortest)} on {shortest["system"]} '
                 f'(seed {shortest["seed"]}) goes; the longest run goes on to '
                 f'{longest["env_steps"][-1]:,}.')
  lines.append('')
  lines += ['| model | ' + ' | '.join(systems) + ' | IQM | P | seeds | minutes per run |',
            '|---' * (len(systems) + 5) + '|']
  for model in dict.fromkeys(map(run_statistics.label, rows)):
    found = [row for row in rows if run_statistics.label(row) == model]
    entries = [_entry([run_statistics.at_step(row, last, value) for row in found
                       if row['system'] == system]) for system in systems]
    aggregate = improvement = ''
    if model in means:
      middle, low, high = (part[-1] for part in means[model])
      aggregate = _number(middle)
      if len(matrices[model]) > 1:  # one seed has no spread
        aggregate += f' ({_number(low)} to {_number(high)})'
      if model != best:
        improvement = format(run_statistics.probability_of_improvement(
            matrices[model][..., 0], matrices[best][..., 0]), '.2f')
    seeds = _range([sum(row['system'] == system for row in found)
                    for system in dict.fromkeys(row['system'] for row in found)])
    seconds = [taken for row in found
               if (taken := run_statistics.at_step(row, last, 'wall_seconds')) is not None]
    minutes = f'{statistics.median(seconds) / 60:.1f}' if seconds else ''
    lines.append(f'| {model} | {" | ".join(entries)} | {aggregate} | {improvement} | {seeds} | '
                 f'{minutes} |')
  return '\n'.join(lines)


def _table_of_causes(rows):
  """The quality of models and gradients, as far as the runs measured it."""
  measured = [row for row in rows if 'validation_skill' in row or 'gradient_cosine' in row]
  if not measured:
    return []
  causes = [cause for cause in CAUSES if any(cause in row for row in measured)]
  lines = ['Medians over the seeds and the second half of the evaluations: '
           f'{", ".join(_CAUSE_WORDS[cause][1] for cause in causes)}.', '',
           f'| model | system | {" | ".join(_CAUSE_WORDS[cause][0] for cause in causes)} |',
           '|---' * (2 + len(causes)) + '|']
  groups: dict[tuple[str, str], list[dict]] = {}
  for row in measured:
    groups.setdefault((run_statistics.label(row), row['system']), []).append(row)
  for (model, system), found in groups.items():
    entries = []
    for cause in causes:
      curves = [row.get(cause, []) for row in found]
      values = [value for curve in curves for value in curve[len(curve) // 2:]
                if value is not None]
      entries.append(f'{statistics.median(values):.3g}' if values else '')
    lines.append(f'| {model} | {system} | {" | ".join(entries)} |')
  return ['\n'.join(lines)]


def _seeds(rows):
  return _count(len({row['seed'] for row in rows}), 'seed')


def _count(number, noun):
  return f'{number} {noun}{"s" * (number > 1)}'


def _range(numbers, noun=''):
  """Such as '3 seeds', or '1 to 3 seeds'; without a noun the numbers alone."""
  fewest, most = min(numbers), max(numbers)
  text = _count(most, noun) if noun else f'{most}'
  return text if fewest == most else f'{fewest} to {text}'


def _systems(counts):
  """Such as '8 systems' of {H: number}, or how many at each H."""
  if len(set(counts.values())) == 1:
    return _count(next(iter(counts.values())), 'system')
  return ', '.join(f'{_count(number, "system")} at {_named(horizon)}'
                   for horizon, number in counts.items())


def _number(value):
  return f'{value:.3f}' if math.isfinite(value) else 'not finite'


def _entry(values):
  if not values:
    return ''
  if None in values:
    return 'not finite'
  middle = f'{statistics.median(values):.3f}'
  return middle if len(values) == 1 else f'{middle} ({min(values):.3f} to {max(values):.3f})'
