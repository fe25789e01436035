"""A figure of the paper: run the cells that are missing, then table and pictures."""

import pathlib
from collections.abc import Callable

from matplotlib.figure import Figure


def figure(folder: str | pathlib.Path, preset: str, cells: Callable[[str], list[dict]],
           run_cells: Callable[..., list[dict]], table: Callable[[list[dict]], str],
           draw: Callable[[list[dict]], dict[str, Figure]]
           ) -> tuple[list[dict], str, dict[str, Figure]]:
  """Runs an experiment and analyses what is there.

  Args:
    folder: of the experiment.
    preset: 'smoke', 'quick' or 'paper': how much to run.
    cells: function (preset) -> list of cells.
    run_cells: function (folder, cells) -> rows, that runs what is missing:
      `run_cells` in this process, or `run_sweep` for cells that are training runs.
    table: function (rows) -> Markdown.
    draw: function (rows) -> {name: matplotlib `Figure`}.

  Returns:
    Rows, Markdown table, {name: `Figure`}.

  Raises:
    UserError: for a folder that cannot be written or holds another configuration.
  """
  rows = run_cells(folder=folder, cells=cells(preset))
  return rows, table(rows), draw(rows)


def markdown_table(rows: list[dict], column: Callable[[int], str],
                   entry: Callable[[list[dict]], str]) -> str:
  """Returns a Markdown table with a line per model and a column per horizon.

  Args:
    rows: dicts with 'model' and 'horizon'.
    column: function (horizon) -> head of the column.
    entry: function (rows of one model and horizon, at least one) -> text.
  """
  horizons = sorted({row['horizon'] for row in rows})
  lines = ['| model | ' + ' | '.join(map(column, horizons)) + ' |',
           '|---' * (1 + len(horizons)) + '|']
  for model in dict.fromkeys(row['model'] for row in rows):
    found = [rows_of(rows, model, horizon) for horizon in horizons]
    lines.append(f'| {model} | ' + ' | '.join(entry(part) if part else '' for part in found) + ' |')
  return '\n'.join(lines)


def rows_of(rows: list[dict], model: str, horizon: int) -> list[dict]:
  """Returns the rows of one model and horizon."""
  return [row for row in rows if (row['model'], row['horizon']) == (model, horizon)]


def not_finite_in(count: int) -> str:
  """Returns what an entry of a table adds for so many seeds that it leaves out, if any."""
  return f'; not finite in {count} more' if count else ''
