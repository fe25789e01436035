"""A figure of the paper: run the cells that are missing, then table and picture."""

from asm_tf.errors import UserError
from asm_tf.experiments.cells import run_cells


def figure(folder, preset, cells, run, table, draw, models=None):
  """Runs an experiment and analyses what is there.

  Args:
    folder: of the experiment.
    preset: 'smoke', 'quick' or 'paper': how much to run.
    cells: function (preset) -> list of cells.
    run: function (cell, models) -> list of rows.
    table: function (rows) -> Markdown.
    draw: function (rows) -> matplotlib `Figure`.
    models: {name: class of `SequenceModel`}.

  Returns:
    Rows, Markdown table, `Figure`.

  Raises:
    UserError: if other processes are still running cells of it.
  """
  rows, running = run_cells(folder, cells(preset), lambda cell: run(cell, models))
  if running:
    raise UserError(f'another process is still running {running} cells in {folder}: '
                    'start this again when it has ended.')
  return rows, table(rows), draw(rows)
