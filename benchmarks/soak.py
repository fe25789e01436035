"""Trains under fault and says what came of it: the table of docs/faults.md.

    python -m benchmarks.soak
    python -m benchmarks.soak --faults=kill --kills=10 --out=/tmp/soak

Small runs of four agents are killed at random moments, run out of space, find their files
damaged, get NaN from the environment or lose a peer. After each fault the same command goes on
with --resume, and its end is compared bit by bit with the run to which nothing happened: rows,
last checkpoint, policy, world model and TensorBoard's points, all but clocks. What else is right
is to stop with one clear line and to lose nothing. --out holds a row a finished cell, which is not
repeated; the folders of cells that went wrong stay there. Exit code 1 if any did.
"""

import json
import pathlib
import shutil
import sys
import zlib

import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks import faults, speed
from launch import command_line

FAULTS = ('kill', 'quota', 'truncate', 'nan', 'peers')
_KILLS_A_CELL = 5
SMALL = ('HORIZON=10', 'NUM_ENV_STEPS=500', 'Trainer.warmup_steps=100', 'Trainer.batch_size=8',
         'EpisodeReplayBuffer.capacity=10000', 'TrainingLoop.eval_interval=50',
         'TrainingLoop.checkpoint_interval=100')
RUNS = {'cancer treatment, lstm': ('gin/myriad_lstm.gin', ()),
        'bioreactor, SAC': ('gin/myriad_sac.gin', ('SYSTEM=@Bioreactor',)),
        'HIV treatment, decision transformer': (
            'gin/myriad_odt.gin', ('SYSTEM=@HIVTreatment', 'HORIZON=20')),
        'Pendulum-v1, markov and critic': ('gin/gymnasium.gin', ())}
_FAULTY = 'faulty cancer treatment, lstm'
_COUNTS = {'times': 'times', 'identical': 'went on to the identical result',
           'stopped': 'stopped with one clear line', 'other': 'anything else', 'lost': 'lost'}


def define_flags():
  flags.DEFINE_list('faults', list(FAULTS), f'Some of {", ".join(FAULTS)}.')
  flags.DEFINE_integer('kills', 50, 'How often a process is killed.', lower_bound=1)
  flags.DEFINE_integer('fills', 9, 'How often the space runs out.', lower_bound=1)
  flags.DEFINE_integer('damages', len(faults.FILES) * len(faults.DAMAGES),
                       'How many files are damaged.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Of the moments, sizes and contents.', lower_bound=0)
  flags.DEFINE_string('out', 'runs/soak', 'Folder of the rows and of the runs.')


def main():
  given = flags.FLAGS
  speed.require_some_of('faults', given.faults, FAULTS)
  out = pathlib.Path(given.out).absolute()
  command_line.make_folder(out)
  rows = soak(out, cells(given.faults, given.kills, given.fills, given.damages, given.seed),
              given.seed)
  print(table(rows))
  return int(any(row['other'] or row['lost'] for row in rows))


def cells(names, kills, fills, damages, seed):
  """What is done, as {name: (fault, run, details)}; with the same seed, the same."""
  runs, made = list(RUNS), []
  if 'kill' in names:
    made += [('kill', runs[index % len(runs)], min(_KILLS_A_CELL, kills - first))
             for index, first in enumerate(range(0, kills, _KILLS_A_CELL))]
  if 'quota' in names:
    made += [('quota', runs[index % len(runs)], index) for index in range(fills)]
  if 'truncate' in names:
    pairs = [(*file, damage) for damage in faults.DAMAGES for file in faults.FILES]
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:damages]
    made += [('truncate', runs[index % len(runs)], pairs[index]) for index in sorted(chosen)]
  if 'nan' in names:
    made += [('nan', _FAULTY, kind) for kind in ('now and then', 'always')]
  if 'peers' in names:
    made += [('peers', runs[0], index) for index in range(3)]
  return {f'{index}-{cell[0]}': cell for index, cell in enumerate(made)}


def soak(out, made, seed=0, bindings=SMALL):
  """Does what is not done yet; returns a row a cell."""
  path = out / 'rows.jsonl'
  rows = {row['cell']: row for row in speed.read_rows(path)}
  wholes = {}
  for name, cell in tqdm(made.items(), unit='cell', dynamic_ncols=True):
    key = json.dumps(cell)
    if rows.get(name, {}).get('key') != key:
      fault, run, _ = cell
      if run not in wholes:
        wholes[run] = _whole(out, run, bindings)
      folder = out / 'cells' / name
      for left in folder.parent.glob(f'{name}*'):  # of a soak that was stopped
        shutil.rmtree(left) if left.is_dir() else left.unlink()
      folder.parent.mkdir(exist_ok=True)
      generator = np.random.default_rng((seed, zlib.crc32(f'{name} {key}'.encode())))
      counts = _do(cell, folder, *wholes[run], generator)
      rows[name] = {'cell': name, 'key': key, 'fault': fault, 'run': run} | counts
      speed.write_rows(path, rows.values())
      if counts['other'] or counts['lost']:
        tqdm.write(f'{key}: {counts}', file=sys.stderr)
      else:
        for left in folder.parent.glob(f'{name}*'):
          shutil.rmtree(left) if left.is_dir() else left.unlink()
  return [rows[name] for name in made]


def _do(cell, folder, arguments, whole, seconds, generator):
  fault, _, detail = cell
  if fault == 'kill':
    return faults.kill(arguments, folder, whole, seconds, generator, detail)
  if fault == 'quota':
    return faults.quota(arguments, folder, whole, seconds, generator)
  if fault == 'truncate':
    base, pattern, which, damage = detail
    half = whole.with_name(whole.name + '-half')
    if base == 'half' and not half.exists():
      faults.half_run(arguments, half)
    return faults.truncate(arguments, folder, half if base == 'half' else whole, whole,
                           (pattern, which), damage, generator)
  if fault == 'nan':
    do = faults.nan_now_and_then if detail == 'now and then' else faults.nan_always
    return do(arguments, folder, whole, seconds, generator)
  return faults.peers(arguments, folder, whole, seconds, generator)


def _whole(out, run, bindings):
  """The arguments of a run, and its folder and seconds when nothing happens to it."""
  folder = out / 'whole' / run.replace(', ', '-').replace(' ', '_')
  folder.parent.mkdir(exist_ok=True)
  if run == _FAULTY:
    file, more = out / 'faulty.gin', ()
    file.write_text("import benchmarks.faulty_systems\ninclude 'gin/myriad_lstm.gin'\n"
                    'SYSTEM = @FaultyTreatment\n')
  else:
    file, more = RUNS[run]
  arguments = [f'--gin_file={file}', *(f'--gin_bindings={binding}' for binding in (
      *bindings, *more)), '--allow_gin_imports']
  times = folder.with_name(folder.name + '.seconds')
  if not times.exists():
    shutil.rmtree(folder, ignore_errors=True)
    seconds = faults.whole_run(arguments, folder)
    command_line.write_in_one_step(times, lambda part: part.write_text(str(seconds)))
  return arguments, folder, float(times.read_text())


def table(rows):
  """Markdown: a line a fault and, where files were damaged, a file."""
  lines = ['| fault | ' + ' | '.join(_COUNTS.values()) + ' |', '|---' * (len(_COUNTS) + 1) + '|']
  groups = {}
  for row in rows:
    detail = json.loads(row['key'])[2]
    name = row['fault']
    if name == 'truncate':
      name = f'{detail[1]} of {"a finished" if detail[0] == "whole" else "an interrupted"} run'
    elif name == 'nan':
      name = f'NaN {detail}'
    groups.setdefault(name, []).append(row)
  for name, members in groups.items():
    sums = [sum(row[count] for row in members) for count in _COUNTS]
    lines.append(f'| {name} | ' + ' | '.join(map(str, sums)) + ' |')
  return '\n'.join(lines)


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
