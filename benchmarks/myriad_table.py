"""The README's table: one recipe on every Myriad system, several seeds.

    python -m benchmarks.myriad_table --seeds=0,1,2 --out=docs/results/myriad_lstm.jsonl

Each cell is a `launch.main` process with a folder of its own; a finished cell is
never run again and an interrupted one is resumed. The rows hold the command and
the versions; --rows prints the table from rows that are there.
"""

import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys

from launch import command_line

from absl import flags
from tqdm import tqdm

from asm_tf.errors import UserError

GIN_FILE = 'gin/myriad_lstm.gin'
# (system, horizon): the cells of the table.
CELLS = tuple((system, 20) for system in (
    'CancerTreatment', 'Bioreactor', 'MouldFungicide', 'Bacteria', 'Harvest', 'InvasivePlant',
    'HIVTreatment', 'TimberHarvest')) + (('HIVTreatment', 50), ('CancerTreatment', 100))


def define_flags():
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of each cell.')
  flags.DEFINE_string('runs', 'runs/myriad_table', 'Folder of the run folders.')
  flags.DEFINE_integer('parallel', 2, 'Runs at a time; one core each.', lower_bound=1)
  flags.DEFINE_string('out', 'docs/results/myriad_lstm.jsonl', 'File of the rows.')
  flags.DEFINE_bool('rows', False, 'Print the table of the rows in --out and stop.')


def main():
  given = flags.FLAGS
  out = pathlib.Path(given.out)
  if not given.rows:
    out.parent.mkdir(parents=True, exist_ok=True)
    command_line.require_writable('out', out)
    cells = [(*cell, int(seed)) for seed in given.seeds for cell in CELLS]
    run_cells(cells, pathlib.Path(given.runs), given.parallel, out)
  if not out.exists():
    raise UserError(f'--out={out} does not exist: run without --rows first.')
  print(table(read_rows(out)))


def run_cells(cells, runs, parallel, out):
  """Runs the cells, `parallel` at a time, and puts each row into `out` as it ends."""
  rows = {_order(row): row for row in read_rows(out)}
  with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
    futures = [pool.submit(run_cell, runs, *cell) for cell in cells]
    for future in tqdm(concurrent.futures.as_completed(futures), total=len(cells), unit='run'):
      row = future.result()
      rows[_order(row)] = row
      text = ''.join(json.dumps(rows[key]) + '\n' for key in sorted(rows))
      command_line.write_in_one_step(out, lambda part, text=text: part.write_text(text))


def read_rows(path):
  """The rows of a file of JSON lines; none where there is no file."""
  return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_cell(runs, system, horizon, seed):
  """Trains one cell unless it is finished; returns its row."""
  folder = runs / f'{system}-{horizon}-{seed}'
  arguments = ['-m', 'launch.main', f'--gin_file={GIN_FILE}',
               f'--gin_bindings=SYSTEM=@{system}', f'--gin_bindings=HORIZON={horizon}',
               f'--seed={seed}', f'--root_dir={folder}', '--resume']
  if not (folder / 'summary.json').exists():
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                          env=os.environ | {'TF_NUM_INTRAOP_THREADS': '1'}, check=False)
    if done.returncode:
      raise RuntimeError(f'{system} at H={horizon}, seed {seed}, failed: {done.stderr[-300:]}')
  summary = json.loads((folder / 'summary.json').read_text())
  rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  early = next(row for row in rows if row['env_steps'] >= 5000)
  return {'system': system, 'horizon': horizon, 'seed': seed,
          'score': summary['normalised_score'], 'score_at_5000': early['normalised_score'],
          'return': summary['return'], 'env_steps': summary['env_steps'],
          'wall_seconds': summary['wall_seconds'],
          'command': 'python ' + ' '.join(arguments), 'versions': summary['versions']}


def table(rows):
  """A Markdown table: the median over seeds, and the lowest and highest."""
  lines = ['| system | H | 5,000 steps | 20,000 steps | lowest - highest | seeds |',
           '|---|---|---|---|---|---|']
  for system, horizon in CELLS:
    cell = [row for row in rows if (row['system'], row['horizon']) == (system, horizon)]
    if cell:
      scores = [row['score'] for row in cell]
      early = statistics.median(row['score_at_5000'] for row in cell)
      lines.append(
          f'| {system} | {horizon} | {early:.3f} | **{statistics.median(scores):.3f}** | '
          f'{min(scores):.3f} - {max(scores):.3f} | {len(cell)} |')
  return '\n'.join(lines)


def _order(row):
  return CELLS.index((row['system'], row['horizon'])), row['seed']


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
