"""Trains every cell of a sweep, several at a time, each in a run folder of its own.

    python -m launch.sweep --gin_file=gin/sweeps/baselines.gin
    python -m launch.sweep --gin_file=gin/sweeps/sac_grid.gin --address=auto

Finished runs are kept and never trained again; a killed sweep goes on where its runs were.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from asm_tf.errors import FailedRuns, UserError
from launch import command_line
from launch import report as launch_report


def define_flags() -> None:
  command_line.define_gin_flags('Which sweep: a file of gin/sweeps/')
  flags.DEFINE_string('out', None, 'Folder of the sweep (default: runs/sweeps/<gin file>).')
  flags.DEFINE_string('address', None, "Of a running Ray cluster, 'auto' for this machine's own; "
                                       'by default Ray is started here, for this sweep alone.')


def main() -> None:
  given = flags.FLAGS
  run(given.gin_file, given.gin_bindings, given.out, given.address,
      given.allow_gin_imports)


def run(gin_files: Sequence[str], gin_bindings: Sequence[str] = (), out: str | None = None,
        address: str | None = None, allow_gin_imports: bool = False) -> None:
  """Runs the command with the flags of the same names, and reports on its runs."""
  command_line.require_files('gin_file', gin_files)
  folder = pathlib.Path(out or f'runs/sweeps/{pathlib.Path(gin_files[0]).stem}')
  from asm_tf import configurables  # TensorFlow starts here, after the flags are checked
  command_line.parse_gin(gin_files, gin_bindings, allow_gin_imports)
  command_line.require_bound(
      'training_cells', gin_files, ('models', 'systems', 'horizons', 'num_env_steps'),
      'give one of gin/sweeps/, such as gin/sweeps/smoke.gin')
  command_line.refuse_bindings_of_runs(
      ('training_cells', 'run_sweep'), lambda name: 'make it a variation, '
      f"--gin_bindings=\"training_cells.variations={{'{name}': (..,)}}\"")
  cells = command_line.with_gin_errors(configurables.training_cells)
  given = {} if address is None else {'address': address}
  failed = None
  try:
    command_line.with_gin_errors(
        lambda: configurables.run_sweep(folder=folder, cells=cells, **given))
  except FailedRuns as error:
    failed = error
  try:
    if (folder / 'results.jsonl').read_bytes():
      launch_report.run(str(folder), str(folder))
  except UserError:
    if failed is None:
      raise
  if failed:
    raise failed


def entry_point() -> None:
  define_flags()
  command_line.run(main)


if __name__ == '__main__':
  entry_point()
