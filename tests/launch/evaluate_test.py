"""Runs on Gymnasium tasks and the trained ones that are kept: evaluated, at any length, filmed."""

import json
import os
import re
import shutil

import gin
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tf_agents.trajectories import time_step as ts

from asm_tf import configurables
from asm_tf.environments.gymnasium_environment import GymnasiumEnvironment
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.environments.video import film_episode
from asm_tf.errors import UserError
from asm_tf.plots import trajectory
from launch import command_line, evaluate
from launch import main as launch_main
from tests.support import gymnasium_environments
from tests.support.paths import REPOSITORY
from tests.support.uniform_policy import uniform_policy

SMALL = ('HORIZON=10', 'NUM_ENV_STEPS=60', 'Trainer.warmup_steps=30', 'Trainer.batch_size=4',
         'PolicyLearner.batch_size=4', 'Execution.jit_compile=False', 'Execution.microbatches=1',
         'Markov.hidden_sizes=(4,)', 'RewardModel.hidden_sizes=(4,)', 'Critic.hidden_sizes=(4,)',
         'SquashedGaussianActor.hidden_sizes=(4,)', 'TrainingLoop.eval_interval=60')


def configured_system(folder):
  command_line.parse_gin([str(folder / 'config.gin')], [])
  settings = gin.get_bindings(configurables.train)
  return settings['system'](settings['horizon'])


def train(folder, *bindings):
  gin.clear_config()
  launch_main.run(launch_main.Configuration(['gin/gymnasium.gin'], [*SMALL, *bindings]),
                  str(folder))
  gin.clear_config()
  return folder


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
  return train(tmp_path_factory.mktemp('gymnasium') / 'run')


@pytest.fixture(scope='module')
def aware_run_dir(tmp_path_factory):
  return train(tmp_path_factory.mktemp('aware') / 'run', 'GymnasiumSystem.time_aware=True')


def test_a_policy_that_sees_no_step_is_evaluated_at_any_length(
    run_dir, fresh_gin, tmp_path, capsys, monkeypatch):
  lengths, draw = [], trajectory.draw_trajectory
  monkeypatch.setattr(trajectory, 'draw_trajectory', lambda system, states, actions, *rest: (
      lengths.append(len(actions)), draw(system, states, actions, *rest))[1])
  evaluate.run(run_dir, tmp_path / 'picture.png', episodes=3, horizon=25)
  assert '3 episodes' in capsys.readouterr().out
  assert lengths == [25]


@pytest.mark.parametrize('suffix', ['gif', 'mp4'])
def test_an_episode_is_filmed(suffix, run_dir, fresh_gin, tmp_path, capsys):
  pytest.importorskip('pygame', reason='Pendulum-v1 draws by pygame')
  imageio = pytest.importorskip('imageio.v3', reason='films are written by imageio')
  video = tmp_path / f'film.{suffix}'
  evaluate.run(run_dir, tmp_path / 'picture.png', episodes=1, video=video)
  out = capsys.readouterr().out
  assert f'video of an episode with return {out.split()[1]}: {video}' in out
  frames = imageio.imread(video, index=None) if suffix == 'mp4' else [
      np.asarray(frame.convert('RGB')) for frame in _frames(video)]
  assert np.shape(frames[0]) == np.shape(frames[-1]) == (500, 500, 3)
  assert 2 <= len(frames) <= 11
  assert np.any(np.asarray(frames[0]) != np.asarray(frames[-1]))
  assert [path.name for path in tmp_path.iterdir() if 'part' in path.name] == []


def film(path, **kwargs):
  """Films an episode of random actions."""
  system = GymnasiumSystem(None, environment='asm_tf_test/Fading-v0', kwargs=kwargs)
  env = GymnasiumEnvironment(system)
  command_line.write_in_one_step(path, lambda part: film_episode(
      part, system, uniform_policy(env, system.horizon), (0,),
      [gymnasium_environments.__name__]))


def test_a_film_shows_at_most_thirty_pictures_a_second(tmp_path, capfd):
  film(tmp_path / 'film.gif')
  brightness = [np.asarray(frame.convert('L'))[0, 0] for frame in _frames(tmp_path / 'film.gif')]
  np.testing.assert_array_equal(brightness, np.arange(len(brightness)) * 40)  # every other one
  out, err = capfd.readouterr()
  assert 'drawing' not in out + err
  assert '100%' in err


def test_a_film_that_fails_midway_is_one_line_and_leaves_nothing(tmp_path):
  with pytest.raises(UserError, match='Fading-v0 cannot be filmed: .*nothing to see any more'):
    film(tmp_path / 'film.gif', dark_at=2)
  assert list(tmp_path.iterdir()) == []


def test_an_environment_of_more_than_plain_values_is_not_filmed(tmp_path):
  with pytest.raises(UserError, match='more than plain values .*: leave --video'):
    film(tmp_path / 'film.gif', dark_at=np.int64(2))
  assert list(tmp_path.iterdir()) == []


def _frames(video):
  film = Image.open(video)
  for i in range(film.n_frames):
    film.seek(i)
    yield film


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'video': 'film.avi'}, 'neither .gif nor .mp4'),
    ({'horizon': 201}, 'ends after 200 steps')])
def test_what_cannot_be_is_one_line(arguments, message, run_dir, fresh_gin, tmp_path):
  with pytest.raises(UserError, match=message):
    evaluate.run(run_dir, tmp_path / 'picture.png', **arguments)


@pytest.mark.parametrize('time_aware', [False, True])
def test_the_model_of_windows_is_saved(time_aware, run_dir, aware_run_dir):
  world = tf.saved_model.load(str((aware_run_dir if time_aware else run_dir) / 'world_model'))
  states = world.predict(tf.zeros([2, 3]), tf.zeros([2, 3, 1]))
  assert states.shape == [2, 3, 3]
  assert world.reward(states, tf.zeros([2, 3, 1]), tf.range(3)).shape == [2, 3]


def test_a_policy_that_knows_its_last_step_keeps_its_length(aware_run_dir, fresh_gin):
  with pytest.raises(UserError, match='knows 10 of them: leave --horizon'):
    evaluate.run(aware_run_dir, horizon=20)
  assert not (aware_run_dir / 'trajectory.png').exists()


def test_of_a_pattern_the_newest_finished_run_is_evaluated(run_dir, fresh_gin, tmp_path, capsys):
  runs = [tmp_path / name for name in ('run-a', 'run-b', 'run-c')]
  for age, run in enumerate(runs):
    shutil.copytree(run_dir, run)
    os.utime(run / 'summary.json', (1000 - age, 1000 - age))
    os.utime(run, (age, age))  # evaluated since, which tells nothing
  (runs[0] / 'summary.json').unlink()
  evaluate.run(tmp_path / 'run-*', episodes=2)
  assert f'picture: {runs[1]}' in capsys.readouterr().out
  with pytest.raises(UserError, match=r'run_dir=.*none-\* holds no run'):
    evaluate.run(tmp_path / 'none-*')


TRAINED = sorted((REPOSITORY / 'docs/results/trained').iterdir())


@pytest.mark.parametrize('folder', TRAINED, ids=lambda folder: folder.name)
def test_a_trained_policy_that_is_kept_returns_what_its_run_says(
    folder, fresh_gin, tmp_path, capsys):
  if folder.name == 'half_cheetah':
    pytest.importorskip('mujoco', reason='HalfCheetah is made of MuJoCo')
  evaluate.run(folder, tmp_path / 'picture.png')
  found = float(re.search(r'return: (\S+)', capsys.readouterr().out)[1])
  expected = json.loads((folder / 'summary.json').read_text())['return']
  np.testing.assert_allclose(found, expected, rtol=0.01)


@pytest.mark.parametrize('folder', TRAINED, ids=lambda folder: folder.name)
def test_a_trained_world_model_that_is_kept_knows_what_its_policy_does(
    folder, fresh_gin, tmp_path):
  """Its return of the policy's actions is that of the system, as close as the runs came."""
  if not (folder / 'world_model').exists():
    pytest.skip('the run is kept without its world model')
  world = tf.saved_model.load(str(folder / 'world_model'))
  policy = tf.saved_model.load(str(folder / 'policy'))
  system = configured_system(folder)
  start = system.initial_state(1)
  states, chosen = [start], []
  for t in range(system.horizon):
    observation = tf.concat([states[-1], tf.fill([1, 1], float(t))], 1)
    step = ts.TimeStep(tf.fill([1], min(t, 1)), tf.zeros([1]), tf.ones([1]), observation)
    chosen.append(policy.action(step).action)
    states.append(system.step(states[-1], chosen[-1], t))
  actions, visited = tf.stack(chosen, 1), tf.stack(states[:-1], 1)
  predicted = tf.concat([start[:, None], world.predict(start, actions)[:, :-1]], 1)
  real, imagined = (float(tf.reduce_sum(world.reward(seen, actions, tf.range(system.horizon))))
                    for seen in (visited, predicted))
  np.testing.assert_allclose(imagined, real, rtol=0.01)


def test_all_that_is_kept_of_trained_runs_is_small():
  assert len(TRAINED) == 5
  assert sum(file.stat().st_size for folder in TRAINED for file in folder.rglob('*')) < 2 * 2**20
