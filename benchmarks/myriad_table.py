"""The score tables: one recipe on every system, every model on one, the baselines on four.

    python -m benchmarks.myriad_table --table=systems --seeds=0,1,2
    python -m benchmarks.myriad_table --table=models --seeds=0,1
    python -m benchmarks.myriad_table --table=baselines --seeds=0,1

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

SYSTEMS = ('CancerTreatment', 'Bioreactor', 'MouldFungicide', 'Bacteria', 'Harvest',
           'InvasivePlant', 'HIVTreatment', 'TimberHarvest')
MODELS = ('transformer', 'lstm', 'ssm', 'rnn', 'attention', 'history_lstm',
          'history_transformer', 'markov', 'simulator')
# {table: (its file of rows, its cells (model, system, horizon) in order)}
TABLES = {
    'systems': ('docs/results/myriad_lstm.jsonl', tuple(
        ('lstm', system, 20) for system in SYSTEMS) + (
            ('lstm', 'HIVTreatment', 50), ('lstm', 'CancerTreatment', 100))),
    'models': ('docs/results/myriad_models.jsonl', tuple(
        (model, 'CancerTreatment', 20) for model in MODELS) + tuple(
            (model, 'CancerTreatment', 100) for model in ('transformer', 'lstm', 'ssm', 'markov'))),
    'baselines': ('docs/results/baselines.jsonl', tuple(
        (model, system, 20)
        for system in ('CancerTreatment', 'HIVTreatment', 'Bioreactor', 'MouldFungicide')
        for model in ('lstm', 'transformer', 'markov', 'sac', 'sac_tuned', 'odt',
                      'odt_overshot', 'cem', 'random_search', 'simulator'))),
}


def define_flags():
  flags.DEFINE_enum('table', 'systems', list(TABLES), 'Which table.')
  flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of each cell.')
  flags.DEFINE_string('runs', 'runs/myriad_table', 'Folder of the run folders.')
  flags.DEFINE_integer('parallel', 2, 'Runs at a time; one core each.', lower_bound=1)
  flags.DEFINE_string('out', None, "File of the rows (default: the table's own in docs/results).")
  flags.DEFINE_bool('rows', False, 'Print the table of the rows in --out and stop.')


def main():
  given = flags.FLAGS
  default_out, cells = TABLES[given.table]
  out = pathlib.Path(given.out or default_out)
  if not given.rows:
    out.parent.mkdir(parents=True, exist_ok=True)
    command_line.require_writable('out', out)
    run_cells(cells, [int(seed) for seed in given.seeds], pathlib.Path(given.runs),
              given.parallel, out)
  if not out.exists():
    raise UserError(f'--out={out} does not exist: run without --rows first.')
  print(table(cells, read_rows(out)))


def run_cells(cells, seeds, runs, parallel, out):
  """Runs the cells, `parallel` at a time, and puts each row into `out` as it ends."""
  rows = {_key(row): row for row in read_rows(out) if _key(row)[:-1] in cells}
  with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
    futures = [pool.submit(run_cell, runs, *cell, seed) for seed in seeds for cell in cells]
    for future in tqdm(concurrent.futures.as_completed(futures), total=len(futures), unit='run'):
      row = future.result()
      rows[_key(row)] = row
      order = sorted(rows, key=lambda key: (cells.index(key[:-1]), key[-1]))
      text = ''.join(json.dumps(rows[key]) + '\n' for key in order)
      command_line.write_in_one_step(out, lambda part, text=text: part.write_text(text))


def read_rows(path):
  """The rows of a file of JSON lines; none where there is no file."""
  return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_cell(runs, model, system, horizon, seed):
  """Trains one cell unless it is finished; returns its row."""
  folder = runs / f'myriad_{model}-{system}-{horizon}-{seed}'
  arguments = ['-m', 'launch.main', f'--gin_file=gin/myriad_{model}.gin',
               f'--gin_bindings=SYSTEM=@{system}', f'--gin_bindings=HORIZON={horizon}',
               f'--seed={seed}', f'--root_dir={folder}', '--resume']
  if not (folder / 'summary.json').exists():
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                          env=os.environ | {'TF_NUM_INTRAOP_THREADS': '1'}, check=False)
    if done.returncode:
      raise RuntimeError(f'{folder.name} failed: {done.stderr[-300:]}')
  summary = json.loads((folder / 'summary.json').read_text())
  rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  early = next(row for row in rows if row['env_steps'] >= 5000)
  return {'model': model, 'system': system, 'horizon': horizon, 'seed': seed,
          'score': summary['normalised_score'], 'score_at_5000': early['normalised_score'],
          'return': summary['return'], 'env_steps': summary['env_steps'],
          'wall_seconds': summary['wall_seconds'],
          'command': 'python ' + ' '.join(arguments), 'versions': summary['versions']}


def table(cells, rows):
  """A Markdown table: the median over seeds, and the lowest and highest."""
  lines = ['| model | system | H | 5,000 steps | 20,000 steps | lowest - highest | seeds |',
           '|---|---|---|---|---|---|---|']
  for cell in cells:
    found = [row for row in rows if _key(row)[:-1] == cell]
    if found:
      scores = [row['score'] for row in found]
      early = statistics.median(row['score_at_5000'] for row in found)
      lines.append(
          f'| {" | ".join(map(str, cell))} | {early:.3f} | **{statistics.median(scores):.3f}** | '
          f'{min(scores):.3f} - {max(scores):.3f} | {len(found)} |')
  return '\n'.join(lines)


def _key(row):
  return row['model'], row['system'], row['horizon'], row['seed']


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
