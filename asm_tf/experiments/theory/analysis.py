"""The theory's figure from its rows: growth of the policy gradient, with fitted rates.

For each architecture log |grad J| is fitted by a + rate H (exponential growth) and by
a + exponent log H (a power of H), least squares on the means over seeds.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from asm_tf.plots.scores import draw_with_intervals


def fits(horizons: Sequence[int],
         logs: Sequence[float] | np.ndarray) -> tuple[float, float, float, float]:
  """Fits logs [K] at horizons [K]; returns (rate, its R^2, exponent, its R^2)."""
  values, found = np.asarray(logs), []
  for x in (np.array(horizons, np.float64), np.log(horizons)):
    slope, offset = np.polyfit(x, values, 1)
    unexplained = np.sum((values - slope * x - offset) ** 2)
    found += [slope, 1 - unexplained / np.sum((values - np.mean(values)) ** 2)]
  return found[0], found[1], found[2], found[3]


def table(rows: list[dict]) -> str:
  """A Markdown table of both fits; the better one is bold."""
  lines = ['| architecture | growth per step, exp(rate) | R² | exponent of H | R² | growth of the '
           'gradient from the shortest to the longest H |', '|---|---|---|---|---|---|']
  for model in dict.fromkeys(row['model'] for row in rows):
    horizons, logs = _logs(rows, model)
    rate, by_rate, exponent, by_exponent = fits(horizons, np.mean(logs, 0))
    texts = [f'{np.exp(rate):.3f}', f'{exponent:.2f}']
    better = int(by_exponent > by_rate)
    texts[better] = f'**{texts[better]}**'
    growth = np.mean(logs[:, -1] - logs[:, 0]) / np.log(10)
    lines.append(f'| {model} | {texts[0]} | {by_rate:.3f} | {texts[1]} | {by_exponent:.3f} | '
                 f'10^{growth:.1f} |')
  return '\n'.join(lines)


def draw(rows: list[dict]) -> dict[str, Figure]:
  """Norms against H: mean and range over seeds."""
  lines = {}
  for model in dict.fromkeys(row['model'] for row in rows):
    horizons, logs = _logs(rows, model)
    logs = logs / np.log(10)
    lines[model] = (horizons, logs.mean(0), logs.min(0), logs.max(0))
  seeds = len({row['seed'] for row in rows})
  return {'figure': draw_with_intervals(
      {'': lines}, 'horizon H (steps)', 'log$_{10}$ norm of the policy gradient',
      f'Policy gradients before training: mean and range of {seeds} seed(s)',
      x_ticks=sorted({row['horizon'] for row in rows}))}


def _logs(rows, model):
  """The horizons [K] of a model and log |grad J|, [seeds, K]."""
  found = [row for row in rows if row['model'] == model]
  horizons = sorted({row['horizon'] for row in found})
  logs = [[row['log_gradient_norm'] for row in found if row['horizon'] == horizon]
          for horizon in horizons]
  return horizons, np.array(logs, np.float64).T  # what is not finite, null in the rows, is NaN
