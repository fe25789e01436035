"""A run ends the same however often it is interrupted, and loses nothing."""

import contextlib
import functools
import gc
import json
import pathlib
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asm_tf.agents.execution import Execution
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.sac_agent import SoftActorCritic, make_sac_agent
from asm_tf.agents.sac_networks import SacNetworks
from asm_tf.errors import UserError
from asm_tf.models.lstm import LSTM
from asm_tf.policies.saved_policy import SavedPolicy
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training import train as train_module
from asm_tf.training import training_loop
from asm_tf.training.checkpointer import Checkpointer
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.recorder import Recorder
from asm_tf.training.run_folder import RunFolder
from asm_tf.training.stop_signal import Stopped
from asm_tf.training.train import RunOptions
from asm_tf.training.trainer import Trainer
from asm_tf.training.training_loop import TrainingLoop

NOT_REPEATED = ('_seconds', '_per_second')


class Killed(BaseException):
  """Stands for SIGKILL: nothing catches it."""


def train(root_dir, resume=False, num_env_steps=300, eval_interval=50, profile=False,
          **changes):
  settings = {
      'system': functools.partial(CancerTreatment, process_noise=0.01), 'horizon': 6,
      'make_agent': functools.partial(
          make_asm_agent,
          world_model=functools.partial(LSTM, embedding_size=4, hidden_sizes=(4,)),
          actor=functools.partial(SquashedGaussianActor, hidden_sizes=(8,))),
      'make_trainer': functools.partial(Trainer, warmup_steps=50, batch_size=4),
      'make_loop': functools.partial(
          TrainingLoop, num_env_steps, eval_interval, checkpoint_interval=100),
      'make_execution': functools.partial(Execution, jit_compile=False, microbatches=1)}
  return train_module.train(RunOptions(str(root_dir), resume, profile), **(settings | changes))


def test_another_seed_begins_with_other_weights(tmp_path):
  for seed in (0, 1):
    train(tmp_path / str(seed), num_env_steps=6, seed=seed,
          system=CancerTreatment)  # without noise, which differs by seed anyway
  assert rows(tmp_path / '0')[0]['return'] != rows(tmp_path / '1')[0]['return']


def rows(root_dir):
  """The rows of a run without what depends on the clock."""
  lines = (root_dir / 'metrics.jsonl').read_text().splitlines()
  return [{key: value for key, value in json.loads(line).items()
           if not key.endswith(NOT_REPEATED)} for line in lines]


def weights(root_dir):
  """{name: array} of everything in the newest checkpoint but the clock."""
  reader = tf.train.load_checkpoint(str(root_dir / 'checkpoints'))
  return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()
          if 'wall_seconds' not in key and 'save_counter' not in key and key[0] != '_'}


@pytest.fixture(scope='module')
def whole_run(tmp_path_factory):
  root_dir = tmp_path_factory.mktemp('whole') / 'run'
  return root_dir, train(root_dir)


def assert_same_run(root_dir, whole):
  assert rows(root_dir) == rows(whole)
  expected, found = weights(whole), weights(root_dir)
  assert found.keys() == expected.keys()
  for key, value in expected.items():
    np.testing.assert_array_equal(found[key], value, err_msg=key)
  events = EventAccumulator(str(root_dir / 'eval'), size_guidance={'tensors': 0})
  events.Reload()  # no point of a curve is missing or drawn twice
  assert [event.step for event in events.Tensors('Metrics/AverageReturn')] == [
      row['env_steps'] for row in rows(root_dir)]


def test_a_run_leaves_its_folder(whole_run):
  root_dir, summary = whole_run
  names = {path.name for path in root_dir.iterdir()}
  assert names == {'config.gin', 'run.json', 'operative_config.gin', 'metrics.jsonl',
                   'summary.json', 'train', 'eval', 'checkpoints', 'policy',
                   'world_model', 'lock'}
  written = rows(root_dir)
  assert [row['env_steps'] for row in written] == [0, 54, 102, 150, 204, 252, 300]
  # 54 steps of warm-up, then one update every 2 steps.
  assert [row['updates'] for row in written] == [0, 0, 24, 48, 75, 99, 123]
  assert json.loads((root_dir / 'summary.json').read_text()) == summary
  assert summary['return'] == written[-1]['return']
  assert summary['normalised_score'] is None  # the stored optimum has no noise


def test_a_run_within_the_warm_up_says_that_it_learns_nothing(tmp_path, caplog):
  train(tmp_path / 'run', num_env_steps=54)
  assert 'nothing will be learned: the run ends after 54' in caplog.text
  caplog.clear()
  train(tmp_path / 'run', num_env_steps=60, resume=True)
  assert 'nothing will be learned' not in caplog.text
  with pytest.raises(UserError, match='holds a run of 60 environment steps, more than 54'):
    train(tmp_path / 'run', num_env_steps=54, resume=True)
  assert rows(tmp_path / 'run')[-1]['env_steps'] == 60


def test_a_run_that_another_process_made_meanwhile_is_not_overwritten(whole_run, tmp_path):
  folder = RunFolder(str(tmp_path / 'run'), resume=False)
  shutil.copytree(whole_run[0], tmp_path / 'run')
  with pytest.raises(UserError, match='already holds a run'):
    folder.open()
  folder.close()
  assert_same_run(tmp_path / 'run', whole_run[0])


def test_the_policy_that_was_evaluated_last_is_saved(whole_run):
  root_dir, _ = whole_run
  evaluator = Evaluator(CancerTreatment(6, process_noise=0.01),
                        lambda *specs: SavedPolicy(*specs, str(root_dir / 'policy')))
  assert evaluator.evaluate().mean_return == pytest.approx(rows(root_dir)[-1]['return'], rel=1e-5)


def kill_at_iteration(monkeypatch, number):
  _kill_at(monkeypatch, Trainer, 'iterate', number)


def kill_after_row(monkeypatch, number):
  _kill_at(monkeypatch, Recorder, 'record', number)


def tear_checkpoint(monkeypatch, number):
  """Leaves the `number`th checkpoint half written."""
  def tear(checkpointer):
    data, = tf.io.gfile.glob(tf.train.latest_checkpoint(checkpointer._path) + '.data*')
    content = pathlib.Path(data).read_bytes()
    pathlib.Path(data).write_bytes(content[:len(content) // 2])
  _kill_at(monkeypatch, Checkpointer, 'save', number, tear)


def _kill_at(monkeypatch, cls, name, number, before=lambda _: None):
  original, calls = getattr(cls, name), []

  def method(self, *args):
    result = original(self, *args)
    calls.append(1)
    if len(calls) == number:
      before(self)
      raise Killed()
    return result

  monkeypatch.setattr(cls, name, method)


@pytest.mark.parametrize(('kill', 'number'), [
    pytest.param(kill_at_iteration, 4, marks=pytest.mark.slow),  # before there is a checkpoint
    (kill_after_row, 4),  # the row is written, the state after it is not
    pytest.param(tear_checkpoint, 2, marks=pytest.mark.slow),  # inside its second write
])
def test_a_killed_run_resumes_to_the_same_end(
    kill, number, whole_run, tmp_path, monkeypatch, capsys):
  root_dir = tmp_path / 'run'
  with monkeypatch.context() as patch, pytest.raises(Killed):
    kill(patch, number)
    train(root_dir)
  train(root_dir, resume=True)
  assert_same_run(root_dir, whole_run[0])


def test_a_killed_sac_run_resumes_to_the_same_end(tmp_path, monkeypatch):
  sizes = functools.partial(SacNetworks, critic_hidden_sizes=(8,), actor_hidden_sizes=(8,))
  train_sac = functools.partial(
      train, num_env_steps=200, make_execution=Execution,  # episodes are compiled
      make_agent=functools.partial(
          make_sac_agent, networks=sizes, agent=functools.partial(
              SoftActorCritic, policy_period=4)))
  train_sac(tmp_path / 'whole')
  with monkeypatch.context() as patch, pytest.raises(Killed):
    kill_after_row(patch, 4)
    train_sac(tmp_path / 'run')
  tf.random.set_seed(1)  # what TensorFlow's own seed does next is no part of a run
  train_sac(tmp_path / 'run', resume=True)
  assert_same_run(tmp_path / 'run', tmp_path / 'whole')


def test_a_stopped_run_resumes_to_the_same_end(whole_run, tmp_path, monkeypatch):
  root_dir, original = tmp_path / 'run', Trainer.iterate

  def iterate(trainer):
    original(trainer)
    if trainer.env_steps == 150:  # where an evaluation is due
      signal.raise_signal(signal.SIGTERM)

  with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
    patch.setattr(Trainer, 'iterate', iterate)
    train(root_dir)
  assert stopped.value.exit_code == 143
  train(root_dir, resume=True)
  assert_same_run(root_dir, whole_run[0])


def test_a_torn_checkpoint_is_reported(whole_run, tmp_path, monkeypatch, caplog):
  root_dir = tmp_path / 'run'
  with monkeypatch.context() as patch, pytest.raises(Killed):
    tear_checkpoint(patch, 1)
    train(root_dir)
  before = rows(root_dir)
  with pytest.raises(UserError, match='no checkpoint in .* can be resumed .*cannot be read'):
    train(root_dir, resume=True)
  # The error says it all; TensorFlow counts how often one process traces, whichever tests it ran.
  assert not [line for line in caplog.messages if 'retracing' not in line]
  assert rows(root_dir) == before  # nothing was lost


def test_profiling_leaves_a_profile_and_the_same_run(whole_run, tmp_path):
  train(tmp_path / 'run', profile=True)
  assert_same_run(tmp_path / 'run', whole_run[0])
  assert list((tmp_path / 'run/train/plugins/profile').glob('*/*.xplane.pb'))


def test_graphs_are_kept_from_the_collector_as_long_as_the_run():
  gc.unfreeze()  # what conftest.py set aside
  try:
    with training_loop._graphs_set_aside():
      assert gc.get_freeze_count() > 10_000
    assert gc.get_freeze_count() == 0
    gc.freeze()
    with training_loop._graphs_set_aside():
      pass
    assert gc.get_freeze_count() > 10_000
  finally:
    gc.freeze()


def test_a_finished_run_can_be_extended(whole_run, tmp_path):
  root_dir = tmp_path / 'run'
  train(root_dir, num_env_steps=200)
  train(root_dir, num_env_steps=300, resume=True)
  assert rows(root_dir)[-1] == rows(whole_run[0])[-1]


def test_a_finished_run_without_checkpoints_is_left_alone(whole_run, tmp_path):
  root_dir = shutil.copytree(whole_run[0], tmp_path / 'run')
  shutil.rmtree(root_dir / 'checkpoints')
  with pytest.raises(UserError, match='without its checkpoints'):
    train(root_dir, resume=True)
  assert rows(root_dir) == rows(whole_run[0])


def test_a_folder_in_use_is_left_alone(whole_run):
  root_dir, _ = whole_run
  owner = RunFolder(root_dir, resume=True)
  owner.open()
  with contextlib.closing(owner), pytest.raises(UserError, match='another process'):
    train(root_dir, resume=True)


def test_an_occupied_folder_is_left_alone(whole_run, tmp_path):
  root_dir, _ = whole_run
  before = rows(root_dir)
  with pytest.raises(UserError, match='already holds a run'):
    train(root_dir)
  (tmp_path / 'precious.txt').write_text('mine')
  with pytest.raises(UserError, match='holds no run'):
    train(tmp_path)
  assert rows(root_dir) == before
  assert [path.name for path in tmp_path.iterdir()] == ['precious.txt']


@pytest.mark.parametrize(('change', 'message'), [
    ({'num_env_steps': 0}, 'num_env_steps'),
    ({'eval_interval': 0.5}, 'eval_interval'),
    ({'horizon': 1}, 'horizon'),
    ({'system': 'CancerTreatment'}, 'SYSTEM=@CancerTreatment'),
])
def test_bad_input_names_the_cause_and_makes_no_folder(change, message, tmp_path):
  with pytest.raises(UserError, match=message):
    train(tmp_path / 'run', **change)
  assert not (tmp_path / 'run').exists()

