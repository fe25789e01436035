"""Our updates and our whole loop beside the same models' updates in JAX, in turn on one machine.

    python -m venv /tmp/jax && /tmp/jax/bin/pip install jax==0.10.0 optax
    python -m benchmarks.against_jax --jax_python=/tmp/jax/bin/python

Two processes wait for each other: whatever slows the machine slows both. --rows prints
the table of the rows that are there. Run it on an otherwise idle machine.
"""

import importlib.metadata
import json
import pathlib
import subprocess
import sys

from absl import flags
from tqdm import tqdm

from asm_tf.training import origin
from benchmarks import ENVIRONMENT, other_python, speed
from benchmarks.serve import serve
from launch import command_line

MODELS, HORIZONS = ('lstm', 'transformer'), (20, 100, 500)
UPDATES = ('model_update', 'policy_update')
_LOOP_STEPS = 100  # environment steps timed as one


def define_flags():
  flags.DEFINE_string('jax_python', sys.executable, 'Python that has jax and optax.')
  flags.DEFINE_list('models', list(MODELS), 'Which world models.')
  flags.DEFINE_list('horizons', [str(horizon) for horizon in HORIZONS], 'Which horizons H.')
  flags.DEFINE_integer('repeats', 15, 'How often each update is timed.', lower_bound=1)
  flags.DEFINE_string('out', 'docs/results/against_jax.jsonl', 'File of the rows.')
  flags.DEFINE_bool('rows', False, 'Print the table of the rows in --out and stop.')
  flags.DEFINE_string('serve', None, 'model,H: time our updates on demand.')


def main():
  given, out = flags.FLAGS, pathlib.Path(flags.FLAGS.out)
  if given.serve:
    _serve(*speed.model_and_horizon('serve', given.serve, MODELS))
    return
  speed.require_cells(given.models, given.horizons, MODELS)
  rows = {(row['model'], row['horizon']): row for row in speed.read_rows(out)}
  if not given.rows:
    command_line.require_writable('out', out)
    of_jax = other_python.versions(given.jax_python, 'jax', 'optax')
    cells = [(model, int(horizon)) for model in given.models for horizon in given.horizons]
    for cell in tqdm(cells, unit='cell'):
      rows[cell] = _compare(*cell, given.jax_python, given.repeats, of_jax)
      speed.write_rows(out, [row for _, row in sorted(rows.items())])
  print(table([row for _, row in sorted(rows.items())]))


def _compare(model, horizon, jax_python, repeats, of_jax):
  """The row of a model at a horizon: medians, lowest and highest milliseconds of both."""
  commands = {
      'ours': [sys.executable, '-m', 'benchmarks.against_jax', f'--serve={model},{horizon}'],
      'jax': [jax_python, '-m', 'benchmarks.jax_models', model, str(horizon)]}
  processes = {name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, env=ENVIRONMENT)
               for name, command in commands.items()}
  for process in processes.values():
    while process.stdout.readline().strip() != 'ready':
      if process.poll() is not None:
        raise RuntimeError(f'{process.args} ended before it was ready.')
  seconds = {name: [] for name in processes}
  for repeat in range(repeats + 1):
    for name, process in processes.items():
      process.stdin.write('\n')
      process.stdin.flush()
      answer = json.loads(process.stdout.readline())
      if repeat:  # the first warms up
        seconds[name].append(answer)
  for process in processes.values():
    process.stdin.close()
    process.wait()
  row = {'model': model, 'horizon': horizon,
         'command': origin.command(),
         'versions': {'tensorflow': importlib.metadata.version('tensorflow'), **of_jax},
         **speed.origin()}
  for update in UPDATES:
    for name, answers in seconds.items():
      row[f'{update}_{name}_ms'] = speed.spread([1e3 * answer[update] for answer in answers])
    row[f'{update}_ratio'] = speed.spread([
        theirs[update] / ours[update]
        for ours, theirs in zip(seconds['ours'], seconds['jax'], strict=True)])
  if horizon in speed.END_TO_END_STEPS:
    row |= _loop(seconds['ours'], seconds['jax'])
  return row


def _loop(ours, jax):
  """Environment steps a second: of our whole loop, and of JAX's updates without any loop."""
  of_jax = [1 / sum(their[name] / period for name, period in speed.PERIODS.items())
            for their in jax]
  rates = [(1 / our['loop'], their) for our, their in zip(ours, of_jax, strict=True)]
  return {'loop_ours_per_second': speed.spread([our for our, _ in rates]),
          'loop_jax_updates_per_second': speed.spread([their for _, their in rates]),
          'loop_ratio': speed.spread([our / their for our, their in rates])}


def _serve(model, horizon):
  trainer = speed.make_trainer(model, horizon)
  calls = speed.calls_timed_as_one(horizon)
  functions, per_call = speed.updates(trainer, calls), dict.fromkeys(UPDATES, calls)
  if horizon in speed.END_TO_END_STEPS:
    trainer = speed.make_warm_trainer(model, horizon)
    functions['loop'], per_call['loop'] = speed.whole_loop(trainer, _LOOP_STEPS), _LOOP_STEPS
  serve(functions, per_call=per_call)


def table(rows):
  """Markdown: medians of both, and how many times faster ours is."""
  lines = ['| model | H | update | ours (ms) | JAX (ms) | times faster (lowest - highest) |',
           '|---|---|---|---|---|---|']
  for row in rows:
    for update in UPDATES:
      ratio = row[f'{update}_ratio']
      lines.append(
          f'| {row["model"]} | {row["horizon"]} | {update.split("_")[0]} '
          f'| {row[f"{update}_ours_ms"][0]:.3g} | {row[f"{update}_jax_ms"][0]:.3g} '
          f'| {ratio[0]:.2f} ({ratio[1]:.2f} - {ratio[2]:.2f}) |')
  lines += ['', "| model | H | our loop (steps/s) | JAX's updates alone (steps/s) "
            '| times faster (lowest - highest) |', '|---|---|---|---|---|']
  for row in rows:
    if ratio := row.get('loop_ratio'):
      lines.append(f'| {row["model"]} | {row["horizon"]} | {row["loop_ours_per_second"][0]:.3g} '
                   f'| {row["loop_jax_updates_per_second"][0]:.3g} '
                   f'| {ratio[0]:.2f} ({ratio[1]:.2f} - {ratio[2]:.2f}) |')
  return '\n'.join(lines)


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
