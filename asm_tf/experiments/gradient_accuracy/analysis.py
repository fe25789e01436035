"""Figure 2 from its rows: cosine similarity with the true policy gradient against H."""

import statistics

from matplotlib.figure import Figure

from asm_tf.experiments.figure import markdown_table, not_finite_in, rows_of
from asm_tf.plots.scores import styles
from asm_tf.plots.style import new_figure


def table(rows: list[dict]) -> str:
  """A Markdown table of the last measurements: the median over seeds.

  The cosine alone flatters: where the long-term part of a gradient is lost, what is left
  may point the same way. The relative error beside it counts the length too.
  """
  last = _last(rows)

  def column(horizon):
    found = [row for row in last if row['horizon'] == horizon]
    sizes = sorted({row['batch_size'] for row in found})
    of = f'{sizes[0]}' if len(sizes) == 1 else f'{sizes[0]} to {sizes[-1]}'
    return (f'H = {horizon} ({max(row["updates"] for row in found)} updates of {of} trajectories): '
            'cosine (lowest), relative error')

  def entry(found):
    cosines, errors = _values(found, 'cosine'), _values(found, 'relative_error')
    if not cosines:
      return 'not finite'
    error = f'{statistics.median(errors):.2g}' if len(errors) == len(found) else 'overflows'
    entry = f'{statistics.median(cosines):.4f} ({min(cosines):.4f} of {len(cosines)}), {error}'
    return entry + not_finite_in(len(found) - len(cosines))

  return markdown_table(last, column, entry)


def draw(rows: list[dict]) -> dict[str, Figure]:
  """The figure: one line per model, its range over seeds behind it; direction, then length too."""
  last = _last(rows)
  figure, (cosine, error) = new_figure(2, row_height=2.2)
  models = dict.fromkeys(row['model'] for row in last)
  horizons = sorted({row['horizon'] for row in last})
  for axis, key in ((cosine, 'cosine'), (error, 'relative_error')):
    for model, look in styles(models).items():
      _draw_line(axis, [rows_of(last, model, horizon) for horizon in horizons], key, horizons,
                 label=model, **look)
    axis.set(xscale='log')
    axis.set_xticks(horizons, map(str, horizons))
    axis.minorticks_off()
  seeds = len({row['seed'] for row in last})
  lowest = min([0.0, *_values(last, 'cosine')])
  cosine.set(ylim=(lowest - 0.05, 1.05), ylabel='cosine similarity', title=(
      'Policy gradient against the true one: toy credit assignment, offline\n'
      f'(median and range, up to {seeds} seeds)'))
  error.set(yscale='log', ylabel='relative error', xlabel='horizon H (steps)')
  error.legend(frameon=False)
  return {'figure': figure}


def _draw_line(axis, cells, key, horizons, color, **style):
  """A model's median and range; horizons where it was not run are left out."""
  values = {horizon: _values(cell, key)
            for horizon, cell in zip(horizons, cells, strict=True) if cell}
  values = {horizon: found or [float('nan')] for horizon, found in values.items()}
  axis.plot(list(values), [statistics.median(v) for v in values.values()], color=color, **style)
  axis.fill_between(list(values), [min(v) for v in values.values()],
                    [max(v) for v in values.values()], color=color, alpha=0.15, linewidth=0)


def _last(rows):
  """The row of each cell with the most updates."""
  last = {}
  for row in rows:
    last[row['model'], row['horizon'], row['seed']] = row
  return list(last.values())


def _values(rows, key):
  """What is finite of a column."""
  return [row[key] for row in rows if row[key] is not None]
