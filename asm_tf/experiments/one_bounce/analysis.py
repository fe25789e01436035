"""Figure 3 from its rows: the error of the predicted final reward, and its landscape."""

import statistics

from matplotlib.figure import Figure

from asm_tf.experiments.figure import markdown_table, not_finite_in
from asm_tf.plots.scores import styles
from asm_tf.plots.style import REFERENCE, new_figure


def table(rows: list[dict]) -> str:
  """A Markdown table: the root mean square error over the initial actions."""
  def entry(found):
    errors = [row['rms_error'] for row in found if row['rms_error'] is not None]
    if not errors:
      return 'not finite'
    entry = f'{statistics.median(errors):.3g} ({min(errors):.2g} - {max(errors):.2g})'
    return entry + not_finite_in(len(found) - len(errors))

  return markdown_table(
      rows, lambda horizon: f'H = {horizon}: median (range over seeds)', entry)


def draw(rows: list[dict]) -> dict[str, Figure]:
  """The predicted final reward against the initial action, one panel a horizon."""
  horizons = sorted({row['horizon'] for row in rows})
  figure, axes = new_figure(len(horizons), row_height=2.2)
  for axis, horizon in zip(axes, horizons, strict=False):
    shown = [row for row in rows if (row['horizon'], row['seed']) == (horizon, 0)]
    looks = styles(['truth', *(row['model'] for row in shown)])
    for row in shown:
      axis.plot(row['values'], row['returns'], color=looks[row['model']]['color'],
                label=row['model'])
    axis.plot(shown[0]['values'], shown[0]['true_returns'], label='truth',
              color=looks['truth']['color'], **REFERENCE)
    axis.set(ylabel='final reward', title=f'One bounce, H = {horizon} (seed 0)')
  axes[-1].set(xlabel='initial action')
  axes[0].legend(frameon=False, ncols=3)
  return {'figure': figure}
