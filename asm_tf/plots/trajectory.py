"""A trajectory against time, with the optimal one behind it."""

from typing import Protocol

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from asm_tf.plots import style

# What the states and controls are called: (states, controls). Several names of states make several
# panels; one name for several dimensions puts them into one panel as numbered lines.
NAMES = {
    'CancerTreatment': (['tumour density'], ['drug strength']),
    'Bioreactor': (['bacteria'], ['feeding rate']),
    'MouldFungicide': (['mould'], ['fungicide']),
    'Bacteria': (['bacteria'], ['nutrient']),
    'Harvest': (['population'], ['harvest rate']),
    'InvasivePlant': (['patch radius'], ['share removed']),
    'HIVTreatment': (['uninfected cells', 'infected cells', 'virus'],
                     ['infection let through']),
    'TimberHarvest': (['timber rate'], ['share re-invested']),
    'ToyCreditAssignment': (['stored action', 'distractor'], ['action']),
    'OneBounce': (['position', 'velocity', 'wall', 'goal'], ['push']),
    'DoublePendulum': (['inner angle', 'inner velocity', 'outer angle', 'outer velocity'],
                       ['push']),
    'Pendulum-v1': (['cos angle', 'sin angle', 'angular velocity'], ['torque']),
}
MAX_LINES = len(style.COLOURS)


class Drawable(Protocol):
  """What a picture needs to know of a system."""

  horizon: int
  distractors: int
  dtype: tf.DType

  @property
  def name(self) -> str: ...

  @property
  def state_size(self) -> int: ...

  @property
  def dt(self) -> float: ...

  def control(self, action: tf.Tensor) -> tf.Tensor: ...


def draw_trajectory(system: Drawable, states: np.ndarray, actions: np.ndarray,
                    optimal: tuple[np.ndarray, np.ndarray] | None = None) -> Figure:
  """Draws states and controls against time.

  Args:
    system: the `System`; controls are drawn in its units, time is t dt.
    states: [L+1, n], array-like, L = H unless the episode ended early; distractors are left out.
    actions: [L, m] in [-1, 1].
    optimal: (states, actions) of the same shapes, drawn dashed behind, or None.

  Returns:
    A `matplotlib.figure.Figure` without a window; `figure.savefig(path)` writes it.
  """
  size = system.state_size - system.distractors
  own_names = getattr(system, 'state_names', None) or [f'state {i + 1}' for i in range(size)]
  state_names, control_names = NAMES.get(system.name, ([], []))
  if len(state_names) not in (1, size):  # an environment that is wrapped has others
    state_names, control_names = own_names if size <= MAX_LINES else ['state'], ['control']
  times = np.arange(len(states)) * system.dt
  figure, axes = style.new_figure(len(state_names) + len(control_names))
  runs = [(states, actions, False)] + ([] if optimal is None else [(*optimal, True)])
  for run_states, run_actions, is_reference in runs:
    columns = np.asarray(run_states)[:, :size]
    controls = system.control(tf.cast(run_actions, system.dtype)).numpy()
    for axis, group in zip(axes, _groups(columns, len(state_names)), strict=False):
      _draw_lines(axis, times, group, is_reference)
    _draw_steps(axes[-1], times, controls, is_reference)
  for axis, name in zip(axes, state_names + control_names, strict=True):
    axis.set_ylabel(name)
  axes[-1].set_xlabel('time')
  left_out = [f'the first {MAX_LINES} of {count} {what}' for count, what in (
      (size, 'states'), (np.shape(actions)[1], 'controls')) if count > MAX_LINES]
  title = f'{system.name}, H = {system.horizon}'
  if left_out:
    title += '\n' + ', '.join(left_out)
  axes[0].set_title(title, loc='left')
  _label_controls(axes[-1], np.shape(actions)[1])
  _label(axes, state_names, own_names, optimal is not None)
  return figure


def _groups(columns, panels):
  """[H+1, n] split into the panels: one column each, or all in one."""
  if panels == 1:
    return [columns[:, :MAX_LINES]]
  return [columns[:, i:i + 1] for i in range(panels)]


def _draw_lines(axis, times, values, is_reference):
  every = max(1, len(times) // 10)
  for i, column in enumerate(values.T):
    colour = style.COLOURS[i]
    if is_reference:
      axis.plot(times, column, color=colour, alpha=0.6, **style.REFERENCE)
    else:
      axis.plot(times, column, color=colour, linewidth=1.6, marker=style.MARKERS[i],
                markersize=3.5, markevery=(i, every), zorder=2)


def _draw_steps(axis, times, values, is_reference):
  """A control holds from one step to the next."""
  middle = (times[1:] + times[:-1]) / 2
  every = max(1, len(times) // 10)
  for i, column in enumerate(values.T[:MAX_LINES]):
    colour = style.COLOURS[i]
    if is_reference:
      axis.stairs(column, times, baseline=None, color=colour, alpha=0.6, **style.REFERENCE)
    else:
      axis.stairs(column, times, baseline=None, color=colour, linewidth=1.6, zorder=2)
      axis.plot(middle[i::every], column[i::every], color=colour, marker=style.MARKERS[i],
                markersize=3.5, linestyle='', zorder=2)


def _label_controls(axis, count):
  """Names several controls, whose colours are those of states."""
  if count > 1:
    shown = range(min(count, MAX_LINES))
    axis.legend([axis.get_lines()[i] for i in shown], [f'control {i + 1}' for i in shown],
                fontsize=8, frameon=False, ncols=min(3, count))


def _label(axes, names, own_names, has_reference):
  lines = axes[0].get_lines()
  if len(own_names) > len(names):
    labelled = list(zip(lines[:MAX_LINES], own_names, strict=False))
  else:
    labelled = [(lines[0], 'this run')]
  if has_reference:
    labelled.append((lines[-1], 'optimal'))
  if len(labelled) > 1:
    axes[0].figure.legend(*zip(*labelled, strict=True), loc='outside upper right',
                          ncols=len(labelled), fontsize=8, frameon=False)
