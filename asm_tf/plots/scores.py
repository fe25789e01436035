"""Scores over training, over horizons and over runs, with their intervals."""

import itertools
import math
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from asm_tf.plots.style import COLOURS, MARKERS, REFERENCE, new_figure

_LINES = ('-', '--', ':', '-.')


def styles(names: Iterable[str]) -> dict[str, dict]:
  """{name: keywords of a line}; up to twenty look different, in grey too."""
  every = itertools.cycle(itertools.product(_LINES, zip(COLOURS, MARKERS, strict=True)))
  return {name: {'color': colour, 'marker': marker, 'linestyle': line, 'linewidth': 1.3,
                 'markersize': 4, 'fillstyle': 'none'}
          for name, (line, (colour, marker)) in zip(names, every, strict=False)}


def draw_with_intervals(panels: dict[str, dict], xlabel: str, ylabel: str, title: str,
                        x_ticks: Sequence[float] | None = None, reference: float | None = None,
                        lowest: float | None = None,
                        look: dict[str, dict] | None = None) -> Figure:
  """Lines with shaded intervals, one panel per group, one legend for all; in rows of four if many.

  Args:
    panels: {name of the panel: {name of the line: (x, middle, low, high)}}.
    xlabel: of the lowest panel.
    ylabel: of every panel; a panel's name is added where there are several. Panels side by side
      share the axis where there is a reference: other returns have scales of their own.
    title: of the figure.
    x_ticks: places of the ticks on a logarithmic x axis; None for a linear one.
    reference: height of a dashed line, such as the optimum's score.
    lowest: the y axis ends here if not above; a few bad values would flatten all the others. A
      panel that goes on below says how far.
    look: `styles` of the lines, where several pictures share them.

  Returns:
    A `matplotlib.figure.Figure`.
  """
  look = look or styles(dict.fromkeys(name for lines in panels.values() for name in lines))
  # A panel of a few lines needs no more than two inches.
  columns = 4 if len(panels) > 4 else 1
  rows = -(-len(panels) // columns)
  figure, axes = new_figure(rows, 6.4 if columns == 1 else 10.0, 2.6 if len(panels) == 1 else 1.9,
                            columns=columns, sharey=columns > 1 and reference is not None)
  for axis in axes[len(panels):]:
    axis.set_axis_off()
  for place, (axis, (panel, lines)) in enumerate(zip(axes, panels.items(), strict=False)):
    for name, (x, middle, low, high) in lines.items():
      every = max(1, len(x) // 8)
      axis.plot(x, middle, label=name, markevery=every, **look[name])
      axis.fill_between(x, low, high, color=look[name]['color'], alpha=0.15, linewidth=0)
    if reference is not None:
      axis.axhline(reference, color='grey', **REFERENCE)
    if x_ticks is not None:
      axis.set(xscale='log')
      axis.set_xticks(x_ticks, [f'{x:g}' for x in x_ticks])
      axis.minorticks_off()
    if columns == 1:
      axis.set(ylabel=ylabel if len(panels) == 1 else f'{panel}\n{ylabel}')
    else:
      axis.set_title(panel, fontsize=9)
      axis.set(ylabel='' if place % columns else ylabel)
    if place >= len(panels) - columns:
      axis.set(xlabel=xlabel)
      axis.tick_params(labelbottom=True)
  if lowest is not None:
    for axis, lines in zip(axes, panels.values(), strict=False):
      _end_at(lowest, axis, lines)
  figure.suptitle(title, fontsize=10)
  handles = {label: handle for axis in axes
             for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
  figure.legend(handles.values(), handles.keys(), loc='outside lower center', frameon=False,
                ncols=min(4, len(handles)), fontsize=8)
  return figure


def _end_at(lowest, axis, lines):
  """Ends a panel at `lowest`, and says how far down its lines and intervals go on."""
  axis.set_ylim(bottom=max(axis.get_ylim()[0], lowest))
  least = min((value for _, *bands in lines.values() for band in bands for value in band
               if math.isfinite(value)), default=lowest)
  if least < lowest:
    axis.annotate(f'down to {least:.2g}', (0.98, 0.04), xycoords='axes fraction', ha='right',
                  fontsize=7, color='grey')
