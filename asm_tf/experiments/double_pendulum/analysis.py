"""Figure 5 from its rows: gradient norms against H, and the landscapes of the return."""

import numpy as np
from matplotlib.figure import Figure

from asm_tf.experiments.double_pendulum.run import NUM_SEQUENCES, log10_mean
from asm_tf.experiments.figure import markdown_table, rows_of
from asm_tf.plots.scores import styles
from asm_tf.plots.style import REFERENCE, new_figure


def table(rows: list[dict]) -> str:
  """A Markdown table: mean and, in brackets, median norm of d s_H / d a_0."""
  def entry(found):
    median = np.median(np.array([row['log10_median_norm'] for row in found], np.float64))
    return f'{10 ** _log10_mean_norm(found):.3g} ({10 ** median:.3g})'

  return markdown_table(rows, lambda horizon: f'H = {horizon}', entry)


def draw(rows: list[dict]) -> dict[str, Figure]:
  """Norms against H on top, the landscapes of the shortest and the longest H below."""
  horizons = sorted({row['horizon'] for row in rows})
  models = list(dict.fromkeys(row['model'] for row in rows))
  shown = dict.fromkeys((horizons[0], horizons[-1]))
  figure, axes = new_figure(1 + len(shown), row_height=2.2, sharex=False)
  for model, look in styles(models).items():
    norms = [_log10_mean_norm(rows_of(rows, model, horizon)) for horizon in horizons]
    axes[0].plot(horizons, norms, label=model, **look)
    for axis, horizon in zip(axes[1:], shown, strict=False):
      row = rows_of(rows, model, horizon)[0]
      axis.plot(row['values'], row['returns'], color=look['color'],
                **(REFERENCE if model == 'Simulator' else {'linewidth': 1.0}))
      if model == 'Simulator':  # the truth sets the scale; models that explode leave it
        low, high = min(row['returns']), max(row['returns'])
        axis.set_ylim(low - 0.2 * (high - low), high + 0.2 * (high - low))
  seeds = len({row['seed'] for row in rows})
  axes[0].set(xlabel='horizon H (steps)', ylabel='log$_{10}$ norm of $ds_H / da_0$',
              title=f'Double pendulum: mean over {NUM_SEQUENCES} action sequences and {seeds} '
                    'seed(s)')
  axes[0].legend(frameon=False)
  for axis, horizon in zip(axes[1:], shown, strict=False):
    axis.set(xlabel='first action', ylabel='return', title=f'H = {horizon} (seed 0)')
  return {'figure': figure}


def _log10_mean_norm(rows):
  return log10_mean([row['log10_mean_norm'] for row in rows])
