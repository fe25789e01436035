"""Seconds from the command to a good policy, ours beside the authors' own training, in turn.

    git clone https://github.com/micklethepickle/action-conditioned-world-models /tmp/authors
    python -m venv /tmp/jax && /tmp/jax/bin/pip install 'jax[cpu]==0.10.2' flax==0.12.8 \\
        optax brax ml_collections transformers==4.46.3 matplotlib tqdm scipy
    python -m benchmarks.time_to_score --clone=/tmp/authors --jax_python=/tmp/jax/bin/python

Every cell is trained by one, then by the other, each a process of its own that is stopped once
its deterministic policy has reached the highest score, or at --limit. The clock begins with the
process: it counts imports, compilation (ours with the cache of programs that the machine has) and
evaluations. A score that is not reached in time counts as the limit, and is shown as such. A row
is kept when its run has ended, and never measured again. Run it on an otherwise idle machine.
"""

import contextlib
import json
import pathlib
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from absl import flags
from tqdm import tqdm

from asm_tf.errors import UserError
from benchmarks import speed
from launch import command_line

SCORES = (0.9, 0.95)
SYSTEMS, HORIZONS = ('HIVTreatment', 'CancerTreatment', 'TimberHarvest'), (20, 100, 500)
_STEPS = 20_000  # environment steps of a run that is not stopped
_POLL = 0.1  # seconds


def define_flags():
  flags.DEFINE_string('clone', None, "A checkout of the authors' repository.")
  flags.DEFINE_string('jax_python', sys.executable, 'Python that has JAX and what they need.')
  flags.DEFINE_list('systems', list(SYSTEMS), 'Which systems.')
  flags.DEFINE_list('horizons', [str(horizon) for horizon in HORIZONS], 'Which horizons H.')
  flags.DEFINE_integer('seeds', 3, 'How many seeds, from 0 on.', lower_bound=1)
  flags.DEFINE_integer('limit', 1800, 'Seconds after which a run is stopped.', lower_bound=1)
  flags.DEFINE_string('out', 'docs/results/time_to_score.jsonl', 'File of the rows.')
  flags.DEFINE_bool('rows', False, 'Print the table of the rows in --out and stop.')


def main():
  given, out = flags.FLAGS, pathlib.Path(flags.FLAGS.out)
  rows = speed.read_rows(out)
  if not given.rows:
    _require_their_code(given.clone)
    speed.require_whole_numbers('horizons', given.horizons, 2)
    references = {(system, horizon): _reference(system, horizon)
                  for system in given.systems for horizon in map(int, given.horizons)}
    command_line.require_writable('out', out)
    done = {_key(row) for row in rows}
    cells = [(*cell, seed, who) for seed in range(given.seeds) for cell in references
             for who in ('ours', 'theirs')]
    missing = [cell for cell in cells if cell not in done]
    for cell in tqdm(missing, unit='run', dynamic_ncols=True):
      reference = references[cell[:2]]
      rows.append(_measure(*cell, reference, given.clone, given.jax_python, given.limit))
      speed.write_rows(out, rows)
  print(table(rows))


def _require_their_code(clone):
  if clone is None or not (pathlib.Path(clone) / 'src/brax/arm/train.py').is_file():
    raise UserError(f'--clone={clone} holds no src/brax/arm/train.py: give a checkout of the '
                    "authors' repository (--help has the command).")


def _reference(system, horizon):
  from asm_tf.environments import scores  # TensorFlow starts here, after the flags are checked
  found = scores.reference(system, horizon)
  if found is None:
    raise UserError(f'no optimum of {system} at H = {horizon} is stored: run `python -m '
                    f'launch.solve --system={system} --horizon={horizon} --save`.')
  return found


def _key(row):
  return row['system'], row['horizon'], row['seed'], row['who']


def _measure(system, horizon, seed, who, reference, clone, jax_python, limit):
  """The row of one run: when its policy first reached each score, and how it went on."""
  from asm_tf.environments.scores import normalised_score
  with tempfile.TemporaryDirectory() as folder:
    if who == 'ours':
      command = [sys.executable, '-m', 'launch.main', '--gin_file=gin/myriad_lstm.gin',
                 f'--gin_bindings=SYSTEM=@{system}', f'--gin_bindings=HORIZON={horizon}',
                 f'--gin_bindings=NUM_ENV_STEPS={_STEPS}',
                 '--gin_bindings=TrainingLoop.eval_interval=500', f'--seed={seed}',
                 f'--root_dir={folder}/run']
    else:
      command = [jax_python, '-m', 'benchmarks.authors_training', clone, system, str(horizon),
                 str(seed), str(_STEPS)]
    curve, reached, began = [], {}, time.monotonic()
    with contextlib.closing(_evaluations(command, folder, who, limit)) as evaluations:
      for evaluation in evaluations:
        score = float(normalised_score(evaluation['return'], reference))
        curve.append((time.monotonic() - began, evaluation['env_steps'], score))
        for threshold in SCORES:
          if score >= threshold:
            reached.setdefault(str(threshold), curve[-1])
        if str(max(SCORES)) in reached:
          break
    ended = time.monotonic() - began
  if not curve:
    raise UserError(f'`{" ".join(command)}` made no evaluation in {ended:.0f} s: try it alone.')
  return {'system': system, 'horizon': horizon, 'seed': seed, 'who': who, 'limit': limit,
          'seconds': {key: point[0] for key, point in reached.items()},
          'env_steps': {key: point[1] for key, point in reached.items()},
          'ended': ended, 'curve': curve,
          'command': command_line.command('benchmarks.time_to_score'), **speed.origin()}


def _evaluations(command, folder, who, limit):
  """Yields {'env_steps', 'return'} of a run as they come; stops it at the limit, or when closed."""
  log, lines = pathlib.Path(folder, 'log'), queue.SimpleQueue()
  deadline = time.monotonic() + limit
  with log.open('w') as errors:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE if who == 'theirs' else errors, stderr=errors, text=True)
  try:
    if who == 'theirs':
      threading.Thread(target=lambda: [lines.put(line) for line in process.stdout],
                       daemon=True).start()
    rows, read = pathlib.Path(folder, 'run', 'metrics.jsonl'), 0
    while time.monotonic() < deadline:
      has_ended = process.poll() is not None
      if who == 'ours' and rows.exists():
        whole = rows.read_text().splitlines(keepends=True)
        for line in whole[read:]:
          if line.endswith('\n'):
            read += 1
            lines.put(line)
      while not lines.empty():
        line = lines.get()
        if line.startswith('{'):
          yield json.loads(line)
      if has_ended:
        return
      time.sleep(_POLL)
  finally:
    process.kill()
    process.wait()


def table(rows):
  """Markdown: seconds to each score, and how many times faster ours is.

  A run that did not get there counts as its limit, marked by >.
  """
  lines = ['| system | H | score | ours (s) | theirs (s) | times faster | seeds |',
           '|---|---|---|---|---|---|---|']
  cells = dict.fromkeys((row['system'], row['horizon']) for row in rows)
  for system, horizon in cells:
    found = {(row['seed'], row['who']): row for row in rows
             if (row['system'], row['horizon']) == (system, horizon)}
    seeds = [seed for seed, who in found if who == 'ours' and (seed, 'theirs') in found]
    if not seeds:
      continue
    for score in map(str, SCORES):
      seconds = {who: [found[seed, who]['seconds'].get(score, found[seed, who]['limit'])
                       for seed in seeds] for who in ('ours', 'theirs')}
      missed = {who: any(score not in found[seed, who]['seconds'] for seed in seeds)
                for who in seconds}
      ours, theirs = (statistics.median(seconds[who]) for who in ('ours', 'theirs'))
      entries = ' | '.join(_spread(seconds[who], missed[who]) for who in ('ours', 'theirs'))
      lines.append(f'| {system} | {horizon} | {score} | {entries} | {theirs / ours:.1f} | '
                   f'{len(seeds)} |')
  return '\n'.join(lines)


def _spread(values, is_missed):
  middle = f'{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})'
  return f'> {middle}' if is_missed else middle


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
