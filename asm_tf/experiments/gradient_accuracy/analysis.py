"""Figure 2 from its rows: cosine similarity with the true policy gradient against H."""

import statistics

from asm_tf.plots.style import COLOURS, MARKERS, new_figure


def table(rows):
  """A Markdown table of the last measurements: median over seeds, and the lowest."""
  last = _last(rows)
  horizons = sorted({row['horizon'] for row in last})
  updates = {horizon: max(row['updates'] for row in last if row['horizon'] == horizon)
             for horizon in horizons}
  lines = ['| model | ' + ' | '.join(
      f'H = {horizon}, {updates[horizon]} updates' for horizon in horizons) + ' |',
           '|---' * (1 + len(horizons)) + '|']
  for model in dict.fromkeys(row['model'] for row in last):
    entries = []
    for horizon in horizons:
      values = _cosines(last, model, horizon)
      entries.append(f'{statistics.median(values):.4f} (lowest {min(values):.4f} of '
                     f'{len(values)})' if values else '')
    lines.append(f'| {model} | ' + ' | '.join(entries) + ' |')
  return '\n'.join(lines)


def draw(rows):
  """The figure: a line a model, its range over seeds behind it."""
  last = _last(rows)
  figure, (axis,) = new_figure(1, row_height=3.0)
  for model, colour, marker in zip(
      dict.fromkeys(row['model'] for row in last), COLOURS, MARKERS):
    horizons = sorted({row['horizon'] for row in last if row['model'] == model})
    values = [_cosines(last, model, horizon) for horizon in horizons]
    axis.plot(horizons, [statistics.median(v) for v in values], color=colour, marker=marker,
              label=model)
    axis.fill_between(horizons, [min(v) for v in values], [max(v) for v in values],
                      color=colour, alpha=0.15, linewidth=0)
  seeds = len({row['seed'] for row in last})
  axis.set(xscale='log', xlabel='horizon H (steps)', ylim=(-1.05, 1.05),
           ylabel='cosine similarity with the true policy gradient',
           title=f'Toy credit assignment, offline (median and range, up to {seeds} seeds)')
  axis.legend(frameon=False)
  return figure


def _last(rows):
  """The row of each cell with the most updates."""
  last = {}
  for row in rows:
    last[row['model'], row['horizon'], row['seed']] = row
  return list(last.values())


def _cosines(rows, model, horizon):
  return [row['cosine'] for row in rows
          if (row['model'], row['horizon']) == (model, horizon)]
