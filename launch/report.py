"""Tables and pictures of a folder of runs.

    python -m launch.report runs/sweeps/baselines
"""

import pathlib

from launch import command_line

from absl import flags

from asm_tf.errors import UserError


def define_flags():
  flags.DEFINE_string('out', None, "Folder of the table and the pictures "
                                   "(default: 'report' in the folder of runs).")


def main(folder):
  run(folder, flags.FLAGS.out)


def run(folder, out=None):
  """Reports on the runs in a folder and those below it."""
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise UserError(f'{folder} is not a folder: give one that holds runs of launch.main.')
  out = pathlib.Path(out or folder / 'report')
  from asm_tf.experiments import report  # TensorFlow starts here, after the flags are checked
  rows = report.read_runs(folder)
  tables = report.tables(rows)
  command_line.make_folder(out)
  command_line.write_in_one_step(out / 'table.md', lambda part: part.write_text(tables + '\n'))
  pictures = report.pictures(rows)
  command_line.write_pictures(out, pictures)
  print(f'{tables}\n\ntable.md and {", ".join(f"{name}.png" for name in pictures)} are in {out}')


if __name__ == '__main__':
  define_flags()
  command_line.run(main, 'FOLDER')
