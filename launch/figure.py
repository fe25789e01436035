"""Makes a figure of the paper: runs what is missing, prints the table, draws the pictures.

    python -m launch.figure --gin_file=gin/figures/gradient_accuracy.gin --preset=smoke

Finished cells are kept and never run again; a killed command goes on where it was.
Cells that are training runs are trained by Ray, as many at once as there are CPUs; of the other
figures, two processes with the same --out share the cells between them.
"""

import pathlib
from collections.abc import Sequence

import gin
from absl import flags

from launch import command_line

PRESETS = ('smoke', 'quick', 'paper')


def define_flags() -> None:
  command_line.define_gin_flags('Which figure: a file of gin/figures/')
  flags.DEFINE_enum('preset', 'quick', PRESETS,
                    'smoke: a minute or less; quick: up to two hours on two '
                    'cores; paper: all of it.')
  flags.DEFINE_string('out', None, 'Folder of rows, table and picture '
                                   '(default: runs/figures/<gin file>-<preset>).')


def main() -> None:
  given = flags.FLAGS
  run(given.gin_file, given.gin_bindings, given.preset, given.out,
      given.allow_gin_imports)


def run(gin_files: Sequence[str], gin_bindings: Sequence[str] = (), preset: str = 'quick',
        out: str | None = None, allow_gin_imports: bool = False) -> None:
  """Runs the command with the flags of the same names."""
  command_line.require_files('gin_file', gin_files)
  folder = pathlib.Path(out or f'runs/figures/{pathlib.Path(gin_files[0]).stem}-{preset}')
  from asm_tf import configurables, memory  # TensorFlow starts here, after the flags
  from asm_tf.training.run_folder import json_line
  command_line.parse_gin(gin_files, gin_bindings, allow_gin_imports)
  command_line.require_bound(
      'figure', gin_files, ('cells', 'run_cells', 'table', 'draw'),
      'give a file of gin/figures/')
  settings = gin.get_bindings(configurables.figure, resolve_references=False)
  if 'run_sweep' in str(settings['run_cells']):
    command_line.refuse_bindings_of_runs(
        ('preset_cells', 'run_sweep', 'figure'),
        lambda name: f'add {name!r} to the variations of preset_cells.{preset}, in a gin file that '
                     f'includes {gin_files[0]}')
  with memory.shortage_reported():
    rows, table, pictures = command_line.with_gin_errors(
        lambda: configurables.figure(folder=folder, preset=preset))
  text = ''.join(map(json_line, rows))
  command_line.write_text(folder / 'rows.jsonl', text)
  command_line.write_text(folder / 'table.md', table + '\n')
  command_line.write_pictures(folder, pictures)
  names = ', '.join(f'{name}.png' for name in pictures)
  print(f'{table}\n\nrows, table and {names} are in {folder}')


def entry_point() -> None:
  define_flags()
  command_line.run(main)


if __name__ == '__main__':
  entry_point()
