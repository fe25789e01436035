"""How the project's pictures look: plain axes, colours that differ in grey as well."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

# Okabe and Ito's colour-blind safe palette, ordered so that neighbours differ in lightness.
COLOURS = ('#000000', '#D55E00', '#0072B2', '#E69F00', '#56B4E9')
MARKERS = ('o', 's', '^', 'D', 'v')
REFERENCE = {'linestyle': (0, (4, 2)), 'linewidth': 1.2, 'zorder': 1}

_RC: dict[Any, Any] = {'font.size': 9, 'axes.titlesize': 10}


def new_figure(rows: int, width: float = 6.4, row_height: float = 1.7, sharex: bool = True,
               columns: int = 1, sharey: bool = False) -> tuple[Figure, np.ndarray]:
  """Returns an empty figure and its axes, row by row; no global state."""
  with mpl.rc_context(_RC):
    figure = Figure(figsize=(width, 0.7 + rows * row_height), dpi=150, layout='constrained')
    axes = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False).ravel()
  for axis in axes:
    axis.spines[['top', 'right']].set_visible(False)
    axis.grid(alpha=0.25, linewidth=0.5)
    axis.margins(x=0.01)
  return figure, axes
