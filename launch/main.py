"""Trains an agent.

    python -m launch.main --gin_file=gin/myriad_lstm.gin
    python -m launch.main --gin_file=gin/myriad_lstm.gin --gin_bindings='HORIZON=100' \\
        --gin_bindings='SYSTEM=@HIVTreatment' --root_dir=runs/hiv --seed=1
"""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Sequence

import gin
from absl import flags

from asm_tf.errors import UserError, require_between
from launch import command_line

_LARGEST_SEED = 2**32 - 1  # NumPy's


@dataclasses.dataclass(frozen=True)
class Configuration:
  """What configures a run.

  Attributes:
    gin_files: paths, the first of which names the run.
    gin_bindings: changes to them, such as 'HORIZON=100'.
    allow_gin_imports: whether gin files from elsewhere may import modules.
    reproduced: 'gin_files' and 'gin_bindings' of the run whose config.gin is given, which the
      new run keeps as its own, so that a report counts it as the same model.
  """

  gin_files: Sequence[str]
  gin_bindings: Sequence[str] = ()
  allow_gin_imports: bool = False
  reproduced: dict | None = None

  def parse(self) -> None:
    """Reads it into gin; `UserError` for what is wrong with it."""
    command_line.parse_gin(self.gin_files, self.gin_bindings, self.allow_gin_imports)
    command_line.require_bound(
        'train', self.gin_files, ('system', 'horizon', 'make_agent'), 'give one of gin/ '
        'itself first, such as gin/myriad_lstm.gin (sweeps: launch.sweep, figures: launch.figure)')

  def of_run(self) -> dict:
    """Returns the 'gin_files' and 'gin_bindings' that the run's folder keeps."""
    kept = self.reproduced or {'gin_files': list(map(str, self.gin_files)), 'gin_bindings': []}
    return {'gin_files': kept['gin_files'],
            'gin_bindings': [*kept['gin_bindings'], *self.gin_bindings]}


def define_flags() -> None:
  command_line.define_gin_flags('Configuration of the run, such as gin/myriad_lstm.gin', False)
  flags.DEFINE_string('reproduce', None, 'Folder of a run to start again: its configuration '
                      'and its seed, in the place of --gin_file.')
  flags.DEFINE_string('root_dir', None, "The run's own folder "
                                        '(default: runs/<gin file>-<time>-<seed>).')
  flags.DEFINE_integer('seed', None, 'Seed of everything random (default: train.seed, or 0).',
                       lower_bound=0, upper_bound=_LARGEST_SEED)
  flags.DEFINE_bool(
      'resume', False, 'Go on with the run in --root_dir, or start it where there is none.')
  flags.DEFINE_bool('profile', False, 'Write a TensorBoard profile of a few iterations.')
  flags.DEFINE_string('wandb', None, 'Project of Weights & Biases that the curves are sent to too '
                      '(needs `pip install wandb`).')
  flags.DEFINE_enum(
      'strategy', 'auto', ('auto', 'one_device', 'mirrored', 'multi_worker', 'tpu'),
      'How updates are spread over devices: auto takes a TPU that --tpu names, the workers of '
      'TF_CONFIG, the GPUs of this machine, or its CPU.')
  flags.DEFINE_bool('use_gpu', None, 'Insist on a GPU, or with --nouse_gpu leave it alone.')
  flags.DEFINE_string('tpu', None, "'local', or the name or address of a TPU.")
  flags.DEFINE_integer('replicas', None, 'Replicas on this machine (default: one a GPU); without a '
                       'GPU so many share the CPU.', lower_bound=1)


def main() -> int:
  given = flags.FLAGS
  files, seed, before = given.gin_file, given.seed, None
  if given.reproduce is not None:
    before = reproduced(given.reproduce, files)
    files = [str(pathlib.Path(given.reproduce) / 'config.gin')]
    seed = before['seed'] if seed is None else seed
  elif not files:
    raise UserError('--gin_file is missing: give a configuration, such as gin/myriad_lstm.gin '
                    '(--list shows them all).')
  return run(Configuration(files, given.gin_bindings, given.allow_gin_imports, before),
             given.root_dir, seed, given.resume,
             {'profile': given.profile, 'wandb': given.wandb},
             {'name': given.strategy, 'use_gpu': given.use_gpu, 'tpu': given.tpu,
              'replicas': given.replicas})


def run(configuration: Configuration, root_dir: str | None = None, seed: int | None = None,
        resume: bool = False, monitoring: dict | None = None,
        devices: dict | None = None) -> int:
  """Runs the command; returns the exit code.

  Args:
    configuration: of the run.
    root_dir: the flag.
    seed: the flag.
    resume: the flag.
    monitoring: {flag: value} of --profile and --wandb.
    devices: {flag: value} of --strategy (here 'name'), --use_gpu, --tpu and --replicas.
  """
  command_line.require_files('gin_file', configuration.gin_files)
  if resume and not root_dir:
    raise UserError('--resume goes on with the run in --root_dir: give that folder too.')
  import tensorflow as tf

  from asm_tf import configurables  # TensorFlow starts here, after the flags are checked
  from asm_tf.experiments.cells import is_locked
  from asm_tf.training import origin
  from asm_tf.training.run_folder import RunFolder
  from asm_tf.training.stop_signal import Stopped
  from asm_tf.training.strategies import make_strategy
  from asm_tf.training.train import RunOptions
  from asm_tf.training.workers import Workers
  from launch.weights_and_biases import synchronised
  configuration.parse()
  seed = _bind_seed(seed)
  strategy = make_strategy(**(devices or {}))
  if not root_dir and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
    raise UserError('workers on several hosts can not agree on a name by the clock: give '
                    '--root_dir.')
  root_dir = root_dir or _default_root_dir(configuration.gin_files[0], seed)
  watch = monitoring or {}
  project = watch.get('wandb') if Workers(strategy).index == 0 else None  # one run for them all
  command = {**configuration.of_run(), 'seed': seed, 'command': origin.command()}
  try:
    if project:  # of a folder that is refused, the run at W&B stays as it is
      folder = RunFolder(root_dir, resume)
      if is_locked(folder.path / 'lock'):
        raise folder.in_use()
    with synchronised(project, root_dir, resume):
      summary = command_line.with_gin_errors(lambda: configurables.train(options=RunOptions(
          root_dir, resume, bool(watch.get('profile')), strategy, command)))
  except Stopped as stopped:
    print(f'stopped and saved; go on with the same command, --root_dir={root_dir} --resume.')
    return stopped.exit_code
  print(f'{_result(summary)} after {summary["env_steps"]} steps in '
        f'{summary["wall_seconds"]:.0f} s; everything is in {root_dir}; look with: '
        f'tensorboard --logdir={root_dir}')
  return 0


def _bind_seed(seed):
  """Binds and returns the given seed, that of the configuration where there is none."""
  if seed is None:
    seed = command_line.with_gin_errors(lambda: gin.get_bindings('train')).get('seed', 0)
  require_between(0, _LARGEST_SEED, seed=seed)
  gin.parse_config(f'train.seed = {seed}')
  return seed


def reproduced(run_dir: str, gin_files: Sequence[str] | None = None) -> dict:
  """Returns the gin files, the gin bindings and the seed of a run that is started again.

  What has changed since, of code and libraries, is said in a line: the numbers may differ then.

  Args:
    run_dir: folder of a run of this command.
    gin_files: of the command line; there may be none beside a run.

  Raises:
    UserError: if the folder holds no run.
  """
  if gin_files:
    raise UserError('--reproduce takes the configuration of its run: leave --gin_file.')
  folder = pathlib.Path(run_dir)
  try:
    before = json.loads((folder / 'run.json').read_text(encoding='utf-8'))
    of_run = {'seed': int(before['seed']), 'gin_files': list(before['gin_files']),
              'gin_bindings': list(before['gin_bindings'])}
    made_by = dict(before['versions'])
    (folder / 'config.gin').read_bytes()
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UserError(f'--reproduce={run_dir} holds no run that can be read ({error}): give a folder '
                    'that launch.main made.') from error
  from asm_tf.training import origin  # TensorFlow starts here
  now = origin.versions() | origin.commit()
  differ = [f'{name} {old} then, {now.get(name)} now' for name, old in sorted(
      (made_by | {key: before[key] for key in ('commit',) if key in before}).items())
      if now.get(name) != old]
  if before.get('changed') or now.get('changed'):
    differ.append('uncommitted changes of the code')
  if differ:
    print(f'numbers may differ: {"; ".join(differ)}.')
  return of_run


def _result(summary):
  score, value = summary['normalised_score'], summary['return']
  if score is not None:
    return f'score {score:.4f}'
  return 'no finite return' if value is None else f'return {value:.6g}'


def _default_root_dir(gin_file, seed):
  time, path = datetime.datetime.now().strftime('%Y%m%d-%H%M%S'), pathlib.Path(gin_file)
  name = path.resolve().parent.name if path.name == 'config.gin' else path.stem
  return f'runs/{name}-{time}-{seed}'


def entry_point() -> None:
  define_flags()
  command_line.run(main)


if __name__ == '__main__':
  entry_point()
