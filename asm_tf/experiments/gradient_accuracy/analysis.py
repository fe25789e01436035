"""Figure 2 from its rows: cosine similarity with the true policy gradient against H."""

import statistics

from asm_tf.experiments.figure import markdown_table, of
from asm_tf.plots.style import COLOURS, MARKERS, new_figure


def table(rows):
  """A Markdown table of the last measurements: the median over seeds.

  The cosine alone flatters: where the long-term part of a gradient is lost, what is left
  may point the same way. The relative error beside it counts the length too.
  """
  last = _last(rows)

  def column(horizon):
    updates = max(row['updates'] for row in last if row['horizon'] == horizon)
    return f'H = {horizon} ({updates} updates): cosine (lowest), relative error'

  def entry(found):
    cosines, errors = _values(found, 'cosine'), _values(found, 'relative_error')
    if not cosines:
      return 'not finite'
    error = f'{statistics.median(errors):.2g}' if errors else 'overflows'
    return f'{statistics.median(cosines):.4f} ({min(cosines):.4f} of {len(found)}), {error}'

  return markdown_table(last, column, entry)


def draw(rows):
  """The figure: a line a model, its range over seeds behind it."""
  last = _last(rows)
  figure, (axis,) = new_figure(1, row_height=3.0)
  for model, colour, marker in zip(
      dict.fromkeys(row['model'] for row in last), COLOURS, MARKERS):
    horizons = sorted({row['horizon'] for row in last if row['model'] == model})
    values = [_values(of(last, model, horizon), 'cosine') or [float('nan')]
              for horizon in horizons]
    axis.plot(horizons, [statistics.median(v) for v in values], color=colour, marker=marker,
              fillstyle='none', label=model)  # open, so that markers on each other show
    axis.fill_between(horizons, [min(v) for v in values], [max(v) for v in values],
                      color=colour, alpha=0.15, linewidth=0)
  seeds = len({row['seed'] for row in last})
  axis.set(xscale='log', xlabel='horizon H (steps)', ylim=(-1.05, 1.05),
           ylabel='cosine similarity with the true policy gradient',
           title=f'Toy credit assignment, offline (median and range, up to {seeds} seeds)')
  horizons = sorted({row['horizon'] for row in last})
  axis.set_xticks(horizons, map(str, horizons))
  axis.minorticks_off()
  axis.legend(frameon=False)
  return figure


def _last(rows):
  """The row of each cell with the most updates."""
  last = {}
  for row in rows:
    last[row['model'], row['horizon'], row['seed']] = row
  return list(last.values())


def _values(rows, key):
  """What is finite of a column."""
  return [row[key] for row in rows if row[key] is not None]
