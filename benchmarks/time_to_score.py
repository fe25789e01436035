"""Seconds from the command to a good policy, ours beside the authors' own training, in turn.

    git clone https://github.com/micklethepickle/action-conditioned-world-models /tmp/authors
    python -m venv /tmp/jax && /tmp/jax/bin/pip install 'jax[cpu]==0.10.2' flax==0.12.8 \\
        optax brax ml_collections transformers==4.46.3 matplotlib tqdm scipy
    python -m benchmarks.time_to_score --clone=/tmp/authors --jax_python=/tmp/jax/bin/python

Every cell is trained by one, then by the other, each a process of its own that is stopped once
its deterministic policy has reached the highest score, or at --limit. The clock begins with the
process: it counts imports, compilation (both with a cache of what earlier runs of this benchmark
have compiled) and evaluations, after every 480 environment steps. The authors' policy update also
forms the gradient through the true system, a diagnostic that is part of their program; ours is off,
as it is by default. A score that is not reached, be it in time or in the 20,000 steps of a run,
counts as the limit, and is shown as such. A row is kept when its run has ended, and never measured
again at that limit. Run it on an otherwise idle machine.
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

from asm_tf.errors import UserError, one_line
from asm_tf.training import origin
from benchmarks import ENVIRONMENT, other_python, speed
from launch import command_line

SCORES = (0.9, 0.95)
SYSTEMS, HORIZONS = ('HIVTreatment', 'CancerTreatment', 'TimberHarvest'), (20, 100, 500)
_STEPS = 20_000  # environment steps of a run that is not stopped
EVAL_INTERVAL = 480  # environment steps; a multiple of 16, as the authors' schedule wants it
_POLL, _GRACE = 0.1, 60  # seconds
_CACHE = pathlib.Path(tempfile.gettempdir(), 'asm_tf_time_to_score')
_CACHES = {'XDG_CACHE_HOME': str(_CACHE), 'TF_XLA_FLAGS': '',
           'JAX_COMPILATION_CACHE_DIR': str(_CACHE / 'jax'),
           'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}


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
    references = {(system, horizon): stored_reference(system, horizon)
                  for system in given.systems for horizon in map(int, given.horizons)}
    command_line.require_writable('out', out)
    other_python.versions(given.jax_python, 'jax')
    done = {_key(row) for row in rows}
    cells = [(*cell, seed, who, given.limit) for seed in range(given.seeds) for cell in references
             for who in ('ours', 'theirs')]
    missing = [cell for cell in cells if cell not in done]
    for cell in tqdm(missing, unit='run', dynamic_ncols=True):
      reference = references[cell[:2]]
      rows.append(_measure(*cell, reference, given.clone, given.jax_python))
      speed.write_rows(out, rows)
  print(table(rows))


def _require_their_code(clone):
  if clone is None or not (pathlib.Path(clone) / 'src/brax/arm/train.py').is_file():
    raise UserError(f'--clone={clone} holds no src/brax/arm/train.py: give a checkout of the '
                    "authors' repository (--help has the command).")


def stored_reference(system, horizon):
  """What a score is measured against; `UserError` where nothing is stored."""
  from asm_tf.environments import scores  # TensorFlow starts here, after the flags are checked
  found = scores.reference(system, horizon)
  if found is None:
    raise UserError(f'no optimum of {system} at H = {horizon} is stored: run `python -m '
                    f'launch.solve --system={system} --horizon={horizon} --save`.')
  return found


def _key(row):
  return row['system'], row['horizon'], row['seed'], row['who'], row['limit']


def _measure(system, horizon, seed, who, limit, reference, clone, jax_python):
  """The row of one run: when its policy first reached each score, and how it went on."""
  from asm_tf.environments.scores import normalised_score
  with tempfile.TemporaryDirectory() as folder:
    if who == 'ours':
      command = [sys.executable, '-m', 'launch.main', '--gin_file=gin/myriad_lstm.gin',
                 f'--gin_bindings=SYSTEM=@{system}', f'--gin_bindings=HORIZON={horizon}',
                 f'--gin_bindings=NUM_ENV_STEPS={_STEPS}',
                 f'--gin_bindings=TrainingLoop.eval_interval={EVAL_INTERVAL}', f'--seed={seed}',
                 f'--root_dir={folder}/run']
    else:
      command = [jax_python, '-m', 'benchmarks.authors_training', clone, system, str(horizon),
                 str(seed), str(_STEPS), str(EVAL_INTERVAL)]
    curve, reached, began, ended_by = [], {}, time.monotonic(), []
    with contextlib.closing(
        _evaluations(command, folder, who, limit, ended_by)) as evaluations:
      for evaluation in evaluations:
        if evaluation['return'] is None:  # it is not finite
          continue
        score = float(normalised_score(evaluation['return'], reference))
        curve.append((time.monotonic() - began, evaluation['env_steps'], score))
        for threshold in SCORES:
          if score >= threshold:
            reached.setdefault(str(threshold), curve[-1])
        if str(max(SCORES)) in reached:
          ended_by.append('score')
          break
      ended = time.monotonic() - began
  if not curve:
    raise UserError(f'`{" ".join(command)}` made no evaluation in {ended:.0f} s: try it alone.')
  return {'system': system, 'horizon': horizon, 'seed': seed, 'who': who, 'limit': limit,
          'seconds': {key: point[0] for key, point in reached.items()},
          'env_steps': {key: point[1] for key, point in reached.items()},
          'ended': ended, 'ended_by': ended_by[0], 'curve': curve,
          'command': origin.command(), **speed.origin()}


def _evaluations(command, folder, who, limit, ended_by):
  """Yields {'env_steps', 'return'} of a run as they come; stops it at the limit, or when closed.

  `ended_by` is given 'limit', or 'steps' where the run has made all of them.
  """
  log, lines = pathlib.Path(folder, 'log'), queue.SimpleQueue()
  deadline = time.monotonic() + limit
  with log.open('w') as errors:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE if who == 'theirs' else errors, stderr=errors, text=True,
        env=ENVIRONMENT | _CACHES)
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
        if process.returncode:
          raise UserError(f'`{" ".join(command)}` ended with code {process.returncode} '
                          f'({one_line(log.read_text()[-300:])}): try it alone.')
        ended_by.append('steps')
        return
      time.sleep(_POLL)
    ended_by.append('limit')
  finally:
    process.terminate()  # ours then completes its cache
    try:
      process.wait(_GRACE)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()


def table(rows):
  """Markdown: seconds to each score, and how many times faster ours is.

  A run that did not get there counts as its limit, marked by >, as is a ratio with such a median of
  theirs; with one of ours it is marked by <, and there is none with two.
  """
  lines = ['| system | H | score | ours (s) | theirs (s) | times faster | seeds |',
           '|---|---|---|---|---|---|---|']
  cells = dict.fromkeys((row['system'], row['horizon'], row['limit']) for row in rows)
  for system, horizon, limit in cells:
    found = {(row['seed'], row['who']): row for row in rows
             if (row['system'], row['horizon'], row['limit']) == (system, horizon, limit)}
    seeds = [seed for seed, who in found if who == 'ours' and (seed, 'theirs') in found]
    if not seeds:
      continue
    for score in map(str, SCORES):
      seconds = {who: [found[seed, who]['seconds'].get(score, limit) for seed in seeds]
                 for who in ('ours', 'theirs')}
      missed = {who: any(score not in found[seed, who]['seconds'] for seed in seeds)
                for who in seconds}
      entries = ' | '.join(_spread(seconds[who], missed[who]) for who in ('ours', 'theirs'))
      lines.append(f'| {system} | {horizon} | {score} | {entries} | '
                   f'{_ratio(seconds["ours"], seconds["theirs"], limit)} | {len(seeds)} |')
  return '\n'.join(lines)


def _ratio(ours, theirs, limit):
  ours_missed, theirs_missed = (statistics.median_high(found) >= limit for found in (ours, theirs))
  if ours_missed and theirs_missed:
    return ''
  mark = '< ' if ours_missed else '> ' if theirs_missed else ''
  return f'{mark}{statistics.median(theirs) / statistics.median(ours):.1f}'


def _spread(values, is_missed):
  middle = f'{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})'
  return f'> {middle}' if is_missed else middle


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
