"""What an update, a step and a sample cost, model by model and horizon by horizon.

    python -m benchmarks.speed
    python -m benchmarks.speed --models=lstm --horizons=20,100 --out=/tmp/speed.jsonl

Each model and horizon is a process of its own, on cancer treatment with the numbers of
Table 1; what is timed is repeated in turn, so that a slow moment slows all of it. Beside
ours the naive forms: Keras layers without XLA for the model update, and the tape through
the sequential roll-out (same model, XLA) for the policy update. --rows prints the table
of rows that are there. Run it on an otherwise idle machine.
"""

import datetime
import json
import os
import pathlib
import resource
import shlex
import statistics
import subprocess
import sys
import time

from absl import flags
from tqdm import tqdm

from asm_tf.cores import kind_of_cpu
from asm_tf.errors import UserError
from benchmarks.table_1 import BATCH, POLICY_BATCH
from launch import command_line

MODELS = ('lstm', 'rnn', 'transformer', 'ssm', 'markov')
HORIZONS = (20, 100, 500, 2000)
PERIODS = {'model_update': 2, 'policy_update': 16}  # environment steps an update (Table 1)
_MATRIX = 1024
_LONGEST_NAIVE = {'transformer': 100}  # beyond it the tape takes minutes and gigabytes
_SAMPLES = 50  # timed as one
END_TO_END_STEPS = {20: 2000, 100: 1000}  # environment steps; no end-to-end run elsewhere


def define_flags():
  flags.DEFINE_list('models', list(MODELS), 'Which world models.')
  flags.DEFINE_list('horizons', [str(horizon) for horizon in HORIZONS], 'Which horizons H.')
  flags.DEFINE_integer('repeats', 15, 'How often each thing is timed.', lower_bound=1)
  flags.DEFINE_string('out', 'docs/results/speed.jsonl', 'File of the rows.')
  flags.DEFINE_bool('rows', False, 'Print the table of the rows in --out and stop.')
  flags.DEFINE_string('cell', None, 'model,H: measure this one here and print its row.')


def main():
  given, out = flags.FLAGS, pathlib.Path(flags.FLAGS.out)
  if given.cell:
    print(json.dumps(measure(*model_and_horizon('cell', given.cell, MODELS), given.repeats)))
    return
  require_cells(given.models, given.horizons, MODELS)
  rows = {_key(row): row for row in read_rows(out)}
  if not given.rows:
    command_line.make_folder(out.parent)
    command_line.require_writable('out', out)
    cells = [(model, int(horizon)) for model in given.models for horizon in given.horizons]
    for cell in tqdm(cells, unit='cell'):
      rows[cell] = _run(cell, given.repeats)
      write_rows(out, [rows[key] for key in sorted(rows, key=_order)])
  print(table(sorted(rows.values(), key=lambda row: _order(_key(row)))))


def model_and_horizon(flag, text, there):
  """(model, H) of a flag's 'model,H'; `UserError` for what is none."""
  model, _, horizon = text.partition(',')
  require_some_of(flag, [model], there)
  require_whole_numbers(flag, [horizon], 2)
  return model, int(horizon)


def require_cells(models, horizons, there):
  """Raises `UserError` for a model that is not `there`, and what is no horizon."""
  require_some_of('models', models, there)
  require_whole_numbers('horizons', horizons, 2)


def require_some_of(flag, values, there):
  """Raises `UserError` for a value of a flag that is not `there`."""
  for value in values:
    if value not in there:
      raise UserError(f'--{flag} has {value!r}: give some of {", ".join(there)}.')


def require_whole_numbers(flag, texts, least):
  """Raises `UserError` for a text of a flag that is no whole number of at least `least`."""
  for text in texts:
    if not text.isdecimal() or int(text) < least:
      raise UserError(f'--{flag} has {text!r}: give whole numbers, at least {least}.')


def _run(cell, repeats):
  """The row of a cell, measured in a process of its own."""
  command = [sys.executable, '-m', 'benchmarks.speed', f'--cell={cell[0]},{cell[1]}',
             f'--repeats={repeats}']
  compile_anew = {'TF_XLA_FLAGS': '--tf_xla_persistent_cache_directory='}
  done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True,
                        env=os.environ | compile_anew)
  row = json.loads(done.stdout.splitlines()[-1])
  return row | {'command': f'python {shlex.join(command[1:])}'}


def measure(model, horizon, repeats):
  """The row of a model at a horizon."""
  import tensorflow as tf

  from asm_tf.training.origin import versions
  before = _peak_gib()
  trainer = make_trainer(model, horizon)
  matrix = tf.random.normal([_MATRIX, _MATRIX])
  product = tf.function(lambda: matrix @ matrix, jit_compile=True)

  times = calls_timed_as_one(horizon)
  timed = {'product': lambda: product().numpy()} | updates(trainer, times)
  compile_seconds = {}
  for name, function in timed.items():
    began = time.perf_counter()
    function()
    compile_seconds[name] = time.perf_counter() - began
  peak = _peak_gib() - before
  timed |= _naive(model, horizon, trainer, times) | _data(trainer)
  seconds = interleave(timed, repeats)
  for name, calls in {'model_update': times, 'policy_update': times, 'sample': _SAMPLES,
                      'sequential_policy_update': times}.items():
    if name in seconds:
      seconds[name] = [value / calls for value in seconds[name]]
  row = {'model': model, 'horizon': horizon, 'peak_gib': round(peak, 3),
         'compile_seconds': {name: round(compile_seconds[name], 1)
                             for name in ('model_update', 'policy_update')},
         'model_gflop': round(_model_update_flop(model, horizon, trainer.agent) / 1e9, 3)}
  for name, values in seconds.items():
    row[f'{name}_ms'] = spread([1e3 * value for value in values])
  product_flop = 2 * _MATRIX**3
  row['product_gflop_per_second'] = round(product_flop / row['product_ms'][0] / 1e6, 1)
  row['model_gflop_per_second'] = round(1e3 * row['model_gflop'] / row['model_update_ms'][0], 1)
  return row | _end_to_end(model, horizon, repeats) | {'versions': versions()} | origin()


def calls_timed_as_one(horizon):
  """Updates in a row, so that Python does not count."""
  return max(1, 200 // horizon)


def updates(trainer, times):
  """{name: function () that does so many updates of it and waits for them}."""
  import tensorflow as tf
  agent = trainer.agent
  experience = tf.nest.map_structure(
      lambda spec: tf.cast(tf.random.uniform(
          [BATCH, trainer.system.horizon + 1, *spec.shape], -1, 1), spec.dtype),
      agent.collect_data_spec)
  model_learner, policy_learner = agent.model_learner, agent.policy_learner

  def update_model():
    model_learner.update(experience)
    return model_learner.metrics.values()['model_loss']

  def update_policy():
    policy_learner.update(policy_learner.starts(experience), policy_learner.draw_noise())
    return policy_learner.metrics.values()['policy_entropy']

  return {'model_update': _often(update_model, times),
          'policy_update': _often(update_policy, times)}


def origin():
  """The day, and the kind of CPU, of a row."""
  return {'cpu': kind_of_cpu(), 'date': datetime.date.today().isoformat()}


def _often(function, times):
  """A function () that calls `function` often without returning to Python."""
  import tensorflow as tf

  @tf.function
  def often():
    total = 0.0
    for _ in tf.range(times):
      total += tf.autograph.experimental.do_not_convert(function)()
    return total

  return lambda: often().numpy()


def make_trainer(model, horizon, system=None):
  """As gin/myriad_<model>.gin builds it, with the batch of Table 1 at every horizon; on cancer
  treatment unless given a class of system."""
  import gin

  from asm_tf import configurables
  from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
  from asm_tf.training.trainer import Trainer
  command_line.parse_gin([f'gin/myriad_{model}.gin'],
                         [f'HORIZON = {horizon}', 'EpisodeReplayBuffer.batch_steps = None'])
  make_agent = gin.get_configurable(configurables.make_asm_agent)
  system = CancerTreatment if system is None else system
  return gin.get_configurable(Trainer)(system(horizon), make_agent, seed=0)


def make_warm_trainer(model, horizon):
  """As `make_trainer`, with the warm-up done and everything compiled."""
  trainer = make_trainer(model, horizon)
  while trainer.updates == 0:
    trainer.iterate()
  return trainer


def whole_loop(trainer, steps):
  """A function () that collects so many steps, and does all the updates that they call for."""
  def loop():
    first = trainer.env_steps
    while trainer.env_steps < first + steps or not trainer.is_between_episodes:
      trainer.iterate()

  return loop


def spread(values):
  """[median, lowest, highest]."""
  return [round(value, 3) for value in (statistics.median(values), min(values), max(values))]


def _naive(model, horizon, trainer, times):
  """{name: function} of the naive forms that can be run at this horizon."""
  import tensorflow as tf

  from asm_tf.agents.execution import Execution, mean_of
  from asm_tf.gradients.policy_gradient import sequential_policy_gradient
  from asm_tf.models.normalizer import Normalizer
  from benchmarks.naive import keras_update
  agent, system = trainer.agent, trainer.system
  if horizon > _LONGEST_NAIVE.get(model, 500):
    return {}
  timed = {}
  inputs = system.action_size + Normalizer(system.state_size, horizon).time_size
  update = keras_update(model, BATCH, inputs, horizon, system.state_size)
  if update is not None:
    timed['keras_model_update'] = lambda: update().numpy()
  world_model, actor = agent.world.model, agent.policy_learner.actor
  start = tf.ones([POLICY_BATCH, system.state_size])
  noise = tf.random.normal([POLICY_BATCH, horizon, system.action_size])
  # On the cores that ours has too, in as many microbatches.
  gradient = Execution().gradient_program(lambda start, noise: sequential_policy_gradient(
      world_model, system.reward, actor, start, noise).gradients)

  def sequential():
    return tf.add_n([tf.reduce_sum(part) for part in mean_of(gradient(start, noise))])

  timed['sequential_policy_update'] = _often(sequential, times)
  for function in timed.values():
    function()
  return timed


def _data(trainer):
  """{name: function} of sampling from a full replay and of an episode of the environment."""
  import tensorflow as tf
  replay, episodes = trainer.replay, trainer.replay.capacity // 10
  items = tf.nest.map_structure(
      lambda spec: tf.cast(tf.random.uniform([episodes, *spec.shape]), spec.dtype),
      replay.data_spec)
  for _ in range(11):
    replay.add_batch(items)

  def sample():  # all of it: what nobody reads is not gathered
    batch, _ = replay.get_next(BATCH)
    return tf.add_n([tf.reduce_sum(tf.cast(part, tf.float32)) for part in tf.nest.flatten(batch)])

  timed = {
      'sample': _often(sample, _SAMPLES),
      'episode': tf.function(trainer.collect, autograph=False)}
  for function in timed.values():
    function()
  return timed


def interleave(timed, repeats):
  """{name: seconds of each repeat} of {name: function}, called in turn."""
  seconds = {name: [] for name in timed}
  for _ in range(repeats):
    for name, function in timed.items():
      began = time.perf_counter()
      function()
      seconds[name].append(time.perf_counter() - began)
  return seconds


def _end_to_end(model, horizon, repeats):
  """Environment steps per second of the whole loop, and the share of it that as many model and
  policy updates take by themselves, timed in turn with it."""
  if horizon not in END_TO_END_STEPS:
    return {}
  trainer = make_warm_trainer(model, horizon)
  steps = -(-END_TO_END_STEPS[horizon] // (horizon * repeats)) * horizon  # whole episodes
  # As many as in the loop: on a shared machine a short burst is faster than what goes on.
  counts = {name: -(-steps // period) for name, period in PERIODS.items()}
  timed = {'loop': whole_loop(trainer, steps)} | {
      name: updates(trainer, count)[name] for name, count in counts.items()}
  for function in timed.values():
    function()
  seconds = interleave(timed, repeats)
  shares = [sum(seconds[name][i] * steps / (period * counts[name])
                for name, period in PERIODS.items()) / seconds['loop'][i] for i in range(repeats)]
  return {'env_steps_per_second': round(steps / statistics.median(seconds['loop']), 1),
          'share_in_updates': round(statistics.median(shares), 3)}


def _model_update_flop(model, horizon, agent):
  """Of the matrix products: 2 a weight and token forward, 4 backward; causal attention apart."""
  matrices = [variable.shape for variable in agent.world.model.trainable_variables
              if len(variable.shape) == 2 and 'positions' not in variable.name]
  tokens = BATCH * horizon
  if model in ('lstm', 'rnn'):  # the embedding is applied within the first projection
    embedding, first = matrices[0], matrices[1]
    matrices[:2] = [(embedding[0], first[1])]
  flop = 6 * tokens * sum(rows * columns for rows, columns in matrices)
  if model == 'transformer':
    layers, size = 2, 72
    flop += layers * 6 * tokens * horizon * size
  return flop


def _peak_gib():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def read_rows(path):
  """The rows of a file, none where there is no file; `UserError` where it holds anything else."""
  try:
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
  except FileNotFoundError:
    return []
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read as rows ({error}): remove it, or give another --out.'
                    ) from error


def write_rows(path, rows):
  command_line.write_text(path, ''.join(json.dumps(row) + '\n' for row in rows))


def _key(row):
  return row['model'], row['horizon']


def _order(key):
  return MODELS.index(key[0]), key[1]


def table(rows):
  """Markdown: medians in milliseconds, and what else was measured."""
  head = ('model', 'H', 'model update (ms)', 'Keras', 'policy update (ms)', 'sequential',
          'sample (ms)', 'env step (ms)', 'steps/s (in updates)', 'GFLOP/s (of product)',
          'compile (s)', 'peak (GiB)')
  lines = ['| ' + ' | '.join(head) + ' |', '|---' * len(head) + '|']
  for row in rows:
    def median(name, row=row):
      return f'{row[name + "_ms"][0]:.3g}' if name + '_ms' in row else ''
    rate = row['model_gflop_per_second']
    cells = (
        row['model'], row['horizon'], median('model_update'), median('keras_model_update'),
        median('policy_update'), median('sequential_policy_update'), median('sample'),
        f'{row["episode_ms"][0] / row["horizon"]:.2g}',
        f'{row["env_steps_per_second"]:.0f} ({row["share_in_updates"]:.0%})'
        if 'env_steps_per_second' in row else '',
        f'{rate:.0f} ({rate / row["product_gflop_per_second"]:.0%})',
        f'{sum(row["compile_seconds"].values()):.0f}', row['peak_gib'])
    lines.append('| ' + ' | '.join(map(str, cells)) + ' |')
  return '\n'.join(lines)


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
