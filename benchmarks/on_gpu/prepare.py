"""Exports the programs that `measure` times, on a machine with TensorFlow.

    python -m benchmarks.on_gpu.prepare --out=runs/gpu_programs

A folder a cell, in the order in which `measure` takes them; ends with their size. What is there is
not exported again.
"""

import gzip
import pathlib
import shutil
import subprocess
import sys

from absl import flags
from tqdm import tqdm

from asm_tf.errors import UserError
from benchmarks import other_python
from launch import command_line

# (model, H, times Table 1's batches, products): the most telling first.
CELLS = [(model, horizon, times, 'float32')
         for times in (1, 16) for horizon in (100, 500, 20, 2000)
         for model in ('lstm', 'transformer', 'ssm', 'markov', 'rnn')
         if model != 'transformer' or horizon < 2000]
CELLS += [(model, 500, times, 'bfloat16') for times in (1, 16) for model in ('lstm', 'transformer')]
_TIMED = ('model_learner.loss_and_gradient', 'policy_learner.imagine')


def define_flags():
  flags.DEFINE_string('out', 'runs/gpu_programs', 'Folder of the programs.')
  flags.DEFINE_integer('cells', len(CELLS), 'How many of the cells, from the first on.', 1)


def main():
  out = pathlib.Path(flags.FLAGS.out)
  command_line.make_folder(out)
  for number, cell in enumerate(tqdm(CELLS[:flags.FLAGS.cells], unit='cell', dynamic_ncols=True)):
    folder = out / name(number, cell)
    if not any(folder.glob('*.hlo.gz')):
      _export(cell, folder)
  size = sum(path.stat().st_size for path in out.rglob('*.hlo.gz'))
  print(f'{size / 2**20:.1f} MiB in {out}')


def name(number, cell):
  """Of a cell's folder; `measure` reads it."""
  return f'{number:02}-' + '-'.join(map(str, cell))


def _export(cell, folder):
  model, horizon, times, dtype = cell
  draft = folder.with_name(folder.name + '.tmp')
  shutil.rmtree(draft, ignore_errors=True)
  done = subprocess.run(
      [sys.executable, '-m', 'benchmarks.export_programs', f'--model={model}',
       f'--horizon={horizon}', f'--times={times}', f'--dtype={dtype}', '--nolearned_reward',
       f'--out={draft}'],
      capture_output=True, text=True)
  if done.returncode:
    raise UserError(f'{cell} is not exported: {other_python.last_line(done.stderr)}')
  for program in draft.glob('*.hlo'):  # the machine takes 64 MiB: a tenth is enough
    if program.stem in _TIMED:
      program.with_suffix('.hlo.gz').write_bytes(gzip.compress(program.read_bytes()))
    program.unlink()
  shutil.rmtree(folder, ignore_errors=True)
  draft.rename(folder)


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
