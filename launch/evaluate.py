"""Evaluates the saved policy of a finished run in a fresh process.

    python -m launch.evaluate --run_dir=runs/myriad_lstm-20261122-120000
    python -m launch.evaluate --run_dir=runs/myriad_lstm-*     # the newest of them
"""

import functools
import glob
import os
import pathlib

import gin
from absl import flags

from asm_tf.errors import UserError, one_line
from launch import command_line, gin_imports


def define_flags() -> None:
  flags.DEFINE_string(
      'run_dir', None, 'Folder of a run that launch.main has finished; of a pattern, the newest '
      'that there is.', required=True)
  flags.DEFINE_string(
      'plot', None, 'PNG file for the trajectory (default: trajectory.png in the run folder).')
  flags.DEFINE_integer('episodes', 32, 'Episodes, where anything in them is random.',
                       lower_bound=1)
  flags.DEFINE_integer('horizon', None, 'Steps of an episode at most, where the policy does not '
                       'see the step (default: those of the run).', lower_bound=2)
  flags.DEFINE_string('video', None, 'GIF or MP4 file for the first episode of a Gymnasium '
                      'environment.')
  command_line.define_allow_gin_imports()


def main() -> None:
  given = flags.FLAGS
  run(given.run_dir, given.plot, given.allow_gin_imports, given.episodes, given.horizon,
      given.video)


def run(run_dir: str | pathlib.Path, plot: str | pathlib.Path | None = None,
        allow_gin_imports: bool = False, episodes: int = 32, horizon: int | None = None,
        video: str | pathlib.Path | None = None) -> None:
  """Runs the command with the flags of the same names."""
  run_dir = pathlib.Path(_newest(run_dir))
  _require_finished(run_dir)
  plot = pathlib.Path(plot or run_dir / 'trajectory.png')
  command_line.require_writable('plot', plot)
  if plot.suffix != '.png':
    raise UserError(f'--plot={plot} is to be a picture: give a name that ends with .png.')
  if video is not None:
    video = pathlib.Path(video)
    if video.suffix not in ('.gif', '.mp4'):
      raise UserError(f'--video={video} is neither .gif nor .mp4: give a file of such a name.')
    command_line.require_writable('video', video)

  from asm_tf.environments import scores  # TensorFlow starts here, after the flags are checked
  from asm_tf.environments.gymnasium_system import GymnasiumSystem
  from asm_tf.environments.video import film_episode
  from asm_tf.plots.trajectory import draw_trajectory
  from asm_tf.policies.saved_policy import SavedPolicy
  from asm_tf.random_streams import Stream
  from asm_tf.training.evaluator import Evaluator
  settings = _settings_of(run_dir, allow_gin_imports)
  system = _make_system(settings, horizon)
  if video is not None and not isinstance(system, GymnasiumSystem):
    raise UserError(f'--video: {system.name} draws no pictures, only a Gymnasium environment may: '
                    'leave it.')
  evaluator = Evaluator(
      system, functools.partial(_load, SavedPolicy, run_dir), settings['seed'], episodes)
  evaluation = evaluator.evaluate()

  reference = scores.reference_for(system)
  figure = draw_trajectory(system, evaluation.states, evaluation.actions,
                           scores.optimal_trajectory(system))
  command_line.write_in_one_step(plot, lambda part: figure.savefig(part, format='png', dpi=150))
  print(f'return: {evaluation.mean_return:.6g}{_spread(evaluation.returns)}')
  if reference is not None:
    print(f'normalised score: {scores.normalised_score(evaluation.mean_return, reference):.4f}')
  print(f'picture: {plot}')
  if video is not None:
    modules = gin_imports.imports_of(run_dir / 'config.gin')
    returns = []
    command_line.write_in_one_step(video, lambda part: returns.append(film_episode(
        part, system, evaluator.policy, (settings['seed'], Stream.EVALUATION), modules)))
    print(f'video of an episode with return {returns[0]:.6g}: {video}')


def _newest(pattern):
  """The path of that name; else the newest finished run that a pattern such as runs/* matches.

  A shell does not expand a pattern within --run_dir=..
  """
  found = [] if os.path.exists(pattern) else [
      path for path in glob.glob(str(pattern)) if os.path.isfile(f'{path}/summary.json')]
  return max(found, key=lambda path: os.path.getmtime(f'{path}/summary.json'), default=pattern)


def _require_finished(run_dir):
  if not os.path.isfile(run_dir / 'config.gin'):  # False too where it may not be read
    raise UserError(f'--run_dir={run_dir} holds no run: give a folder that launch.main made.')
  if not os.path.isfile(run_dir / 'summary.json'):
    raise UserError(f'the run in {run_dir} has not finished: finish it with launch.main '
                    f'--root_dir={run_dir} --resume, then evaluate it.')


def _settings_of(run_dir, allow_gin_imports):
  """What the run's configuration binds of `train`; everything else of it is bound too."""
  from asm_tf import configurables
  from asm_tf.training.run_folder import require_readable_version
  require_readable_version(run_dir)
  command_line.parse_gin([str(run_dir / 'config.gin')], [], allow_gin_imports)
  settings = command_line.with_gin_errors(lambda: gin.get_bindings(configurables.train))
  if not {'system', 'horizon', 'seed'} <= settings.keys():
    raise UserError(f'{run_dir / "config.gin"} is cut short: put it back (a run of the same '
                    'command in another folder writes the same one).')
  return settings


def _make_system(settings, horizon):
  """The run's system, of another length where one is given and the policy does not see the step."""
  system = settings['system'](settings['horizon'])
  if horizon is None or horizon == system.horizon:
    return system
  if system.time_aware:
    raise UserError(f'--horizon={horizon}: this policy sees the step and knows {system.horizon} '
                    'of them: leave --horizon, or train with GymnasiumSystem.time_aware = False.')
  return settings['system'](horizon)


def _load(saved_policy, run_dir, *specs):
  try:
    return saved_policy(*specs, str(run_dir / 'policy'))
  except Exception as error:
    # What TensorFlow raises depends on the file and on the byte at which it is damaged.
    raise UserError(f'the policy in {run_dir / "policy"} cannot be read ({one_line(error, 200)}): '
                    f'make it again with launch.main, --root_dir={run_dir} --resume.') from error


def _spread(returns):
  """The standard error of the mean, in words, where there are several episodes."""
  if len(returns) < 2:
    return ''
  error = returns.std(ddof=1) / len(returns)**0.5
  return f' (standard error {error:.3g}, {len(returns)} episodes)'


def entry_point() -> None:
  define_flags()
  command_line.run(main)


if __name__ == '__main__':
  entry_point()
