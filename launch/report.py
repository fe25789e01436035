"""Tables and pictures of a folder of runs.

    python -m launch.report runs/sweeps/baselines
"""

import pathlib

from absl import flags

from asm_tf.errors import UserError
from launch import command_line


def define_flags() -> None:
  flags.DEFINE_string('out', None, "Folder of the table and the pictures "
                                   "(default: 'report' in the folder of runs).")


def main(folder: str) -> None:
  run(folder, flags.FLAGS.out)


def run(folder: str, out: str | None = None) -> None:
  """Reports on the runs in a folder and those below it."""
  runs = pathlib.Path(folder)
  if not runs.is_dir():
    raise UserError(f'{folder} is not a folder: give one that holds runs of launch.main.')
  results = pathlib.Path(out or runs / 'report')
  # TensorFlow starts here, after the flags are checked
  from asm_tf.experiments import found_runs, report
  rows, failed = found_runs.read_runs(runs)
  tables = report.tables(rows)
  if failed:
    tables += '\n\n' + found_runs.table_of_failures(failed)
  command_line.make_folder(results)
  command_line.write_text(results / 'table.md', tables + '\n')
  pictures = report.pictures(rows)
  command_line.write_pictures(results, pictures)
  names = ', '.join(f'{name}.png' for name in pictures)
  print(f'{tables}\n\ntable.md and {names} are in {results}')


def entry_point() -> None:
  define_flags()
  command_line.run(main, 'FOLDER')


if __name__ == '__main__':
  entry_point()
