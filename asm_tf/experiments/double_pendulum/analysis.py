"""Figure 5 from its rows: gradient norms against H, and the landscapes of the return."""

import numpy as np

from asm_tf.plots.style import COLOURS, MARKERS, REFERENCE, new_figure


def table(rows):
  """A Markdown table: the mean norm of d s_H / d a_0 by model and horizon."""
  horizons = sorted({row['horizon'] for row in rows})
  lines = ['| model | ' + ' | '.join(f'H = {horizon}' for horizon in horizons) + ' |',
           '|---' * (1 + len(horizons)) + '|']
  for model in dict.fromkeys(row['model'] for row in rows):
    norms = [_mean_norm(rows, model, horizon) for horizon in horizons]
    lines.append(f'| {model} | ' + ' | '.join(f'{norm:.3g}' for norm in norms) + ' |')
  return '\n'.join(lines)


def draw(rows):
  """Norms against H on top, the landscapes of the shortest and the longest H below."""
  horizons = sorted({row['horizon'] for row in rows})
  models = list(dict.fromkeys(row['model'] for row in rows))
  shown = dict.fromkeys((horizons[0], horizons[-1]))
  figure, axes = new_figure(1 + len(shown), row_height=2.2, sharex=False)
  for model, colour, marker in zip(models, COLOURS, MARKERS):
    axes[0].plot(horizons, [_mean_norm(rows, model, horizon) for horizon in horizons],
                 color=colour, marker=marker, label=model)
    for axis, horizon in zip(axes[1:], shown):
      row = next(row for row in rows if (row['model'], row['horizon']) == (model, horizon))
      axis.plot(row['values'], row['returns'], color=colour,
                **(REFERENCE if model == 'Simulator' else {'linewidth': 1.0}))
  seeds = len({row['seed'] for row in rows})
  axes[0].set(yscale='log', xlabel='horizon H (steps)', ylabel='norm of $ds_H / da_0$',
              title=f'Double pendulum: mean over 50 action sequences and {seeds} seeds')
  axes[0].legend(frameon=False)
  for axis, horizon in zip(axes[1:], shown):
    axis.set(xlabel='first action', ylabel='return', title=f'H = {horizon} (seed 0)')
  return figure


def _mean_norm(rows, model, horizon):
  return float(np.mean([row['mean_norm'] for row in rows
                        if (row['model'], row['horizon']) == (model, horizon)]))
