"""Under fault a run goes on to the same end, or stops with one clear line and loses nothing."""

import contextlib
import functools
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.policies import policy_saver

from asm_tf.agents.sequence_search_agent import SequenceSearchAgent, make_sequence_search_agent
from asm_tf.errors import LostWorkers, UserError
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training import checkpointer, failed_writes
from asm_tf.training import train as train_module
from asm_tf.training.recorder import Recorder
from asm_tf.training.run_folder import RunFolder
from asm_tf.training.saved_models import save_world_model
from asm_tf.training.stop_signal import Stopped
from asm_tf.training.train import RunOptions
from asm_tf.training.trainer import Trainer
from asm_tf.training.training_loop import TrainingLoop
from asm_tf.training.workers import Workers
from benchmarks import faults, soak
from tests.support import small_models
from tests.support.paths import REPOSITORY


class Killed(BaseException):
  """Stands for SIGKILL: nothing catches it."""


def train(root_dir, profile=False, **changes):
  """A run of an agent that has nothing to compile, resumed if the folder holds it."""
  settings = {
      'system': functools.partial(CancerTreatment, process_noise=0.01), 'horizon': 6,
      'make_agent': functools.partial(
          make_sequence_search_agent,
          agent=functools.partial(SequenceSearchAgent, population=5, elite=2)),
      'make_trainer': functools.partial(
          Trainer, warmup_steps=30, batch_size=4),
      'make_loop': functools.partial(
          TrainingLoop, num_env_steps=90, eval_interval=12, checkpoint_interval=30)}
  return train_module.train(
      RunOptions(str(root_dir), resume=True, profile=profile), **(settings | changes))


def test_the_summary_has_the_last_and_the_best_score(tmp_path):
  with contextlib.closing(RunFolder(str(tmp_path / 'run'), resume=False)) as folder:
    folder.open()
    for score in (0.1, 0.9, None, 0.5):
      folder.append_row({'env_steps': 1, 'wall_seconds': 1.0, 'return': 0.0,
                         'normalised_score': score})
    summary = folder.write_summary(0)
  assert (summary['normalised_score'], summary['best_normalised_score']) == (0.5, 0.9)


def at_call(monkeypatch, owner, name, number, before):
  """Calls `before()` ahead of the `number`th call of a function."""
  original, calls = getattr(owner, name), []

  def function(*args, **kwargs):
    calls.append(1)
    with before() if len(calls) == number else contextlib.nullcontext():
      return original(*args, **kwargs)

  monkeypatch.setattr(owner, name, function)


@contextlib.contextmanager
def no_space(limit=10):
  """No file may grow beyond so many bytes."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def kill():
  raise Killed()
  yield


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  root_dir = tmp_path_factory.mktemp('whole') / 'run'
  train(root_dir)
  return root_dir


@pytest.fixture(scope='module')
def half(tmp_path_factory):
  """A run that was killed after its second checkpoint, at 60 of 90 steps."""
  root_dir = tmp_path_factory.mktemp('half') / 'run'
  with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
    at_call(patch, Recorder, 'record', 7, kill)
    train(root_dir)
  assert len(list(root_dir.glob('checkpoints/ckpt-*.index'))) == 2
  return root_dir


# Writes that fail.


def test_after_every_failed_write_the_run_goes_on_to_the_same_end(whole, tmp_path, monkeypatch):
  for owner, name, number, path in (
      (RunFolder, 'begin', 1, 'run.json'),
      (checkpointer.Checkpointer, 'save', 1, 'checkpoints/draft'),  # the first there would be
      (RunFolder, 'append_row', 4, 'metrics.jsonl'),
      (Recorder, '_write_summaries', 9, 'events.out.tfevents'),
      (checkpointer.Checkpointer, 'save', 2, 'checkpoints/draft'),
      (policy_saver.PolicySaver, 'save', 1, 'policy'),
      (RunFolder, 'write_summary', 1, 'summary.json')):
    with monkeypatch.context() as patch, pytest.raises(UserError) as raised:
      at_call(patch, owner, name, number, no_space)
      train(tmp_path / 'run')
    message = raised.value.message
    assert path in message
    assert 'File too large' in message
    assert '--resume' in message
    assert '\n' not in message
    assert not (tmp_path / 'run/summary.json').exists()
    assert not (tmp_path / 'run/checkpoints/draft').exists()  # the space is given back
    assert not tf.summary.should_record_summaries()  # what this process does next
  train(tmp_path / 'run')
  assert not faults.difference(tmp_path / 'run', whole)


def test_a_full_disk_is_no_lack_of_memory(tmp_path, monkeypatch):
  """TensorFlow raises the same error for both."""
  @contextlib.contextmanager
  def full():
    raise tf.errors.ResourceExhaustedError(
        None, None, f'{tmp_path}/run/checkpoints/draft; No space left on device')
    yield

  at_call(monkeypatch, checkpointer.Checkpointer, 'save', 1, full)
  with pytest.raises(UserError, match=r'cannot write .*draft \(No space left on device\): free'):
    train(tmp_path / 'run')


def test_what_is_not_a_failed_write_of_the_run_passes(tmp_path):
  for error in (tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating a tensor'),
                tf.errors.NotFoundError(None, None, '/data/x.csv; No such file or directory'),
                FileNotFoundError(2, 'No such file or directory', '/data/x.csv'),
                OSError('without a number')):
    with pytest.raises(type(error)), failed_writes.reported(tmp_path):
      raise error
  for error in (OSError(28, 'No space left on device'),
                tf.errors.ResourceExhaustedError(
                    None, None, f'{{node}} {tmp_path}/a/b; No space left on device\nmore')):
    with (pytest.raises(UserError, match='No space left on device.*free some space'),
          failed_writes.reported(tmp_path)):
      raise error


@pytest.mark.parametrize('limit', [10, 5000])  # of the variables; of the graph alone
def test_a_world_model_that_finds_no_space_stops_the_run(limit, tmp_path, caplog):
  model, *_ = small_models.build(small_models.markov)
  agent = small_models.agent_with(model, small_models.reward)
  system = types.SimpleNamespace(horizon=small_models.H, state_size=small_models.N,
                                 action_size=small_models.M)
  path = tmp_path / 'world_model'
  with (pytest.raises(UserError, match=f'{path}.*File too large.*free some space'),
        failed_writes.reported(tmp_path), no_space(limit)):
    save_world_model(agent, system, path)
  assert 'is not written' not in caplog.text


def test_a_save_that_is_killed_leaves_the_checkpoints_as_they_were(
    whole, half, tmp_path, monkeypatch):
  root_dir = shutil.copytree(half, tmp_path / 'run')
  before = faults.saved(root_dir)
  with monkeypatch.context() as patch, pytest.raises(Killed):
    at_call(patch, checkpointer.shutil, 'rmtree', 2, kill)  # nor is anything tidied
    at_call(patch, checkpointer, '_sync', 2, kill)  # the data is moved, the index is not
    train(root_dir)
  after = faults.saved(root_dir)
  assert all(after[name] == content for name, content in before.items()
             if name.name != 'metrics.jsonl')
  train(root_dir)
  assert not faults.difference(root_dir, whole)


class Counting(tf.Module):
  """As much of a trainer as a checkpoint needs."""

  def __init__(self):
    super().__init__()
    self.env = types.SimpleNamespace(checkpoint_items=lambda: {})
    self.env_steps, self.updates = 60, 5


def test_no_checkpoint_is_written_over_another(tmp_path):
  trainer = Counting()
  keeper = checkpointer.Checkpointer(trainer, tmp_path, Workers(None))
  keeper.save(1.0, rows=4)
  for copy in ('ckpt-60-5-4 (copy).index', 'ckpt-best.index'):  # somebody's, left alone
    (tmp_path / copy).touch()
  first = faults.saved(tmp_path)
  keeper.save(2.0, rows=4)  # nothing has happened
  assert faults.saved(tmp_path) == first
  for updates, rows in ((9, 4), (9, 5)):  # stopped twice within the updates of an episode
    trainer.updates = updates
    keeper.save(3.0, rows)
  names = ['ckpt-60-9-4', 'ckpt-60-9-5']
  assert sorted(path.stem for path in tmp_path.glob('*.index')) == [
      'ckpt-60-5-4 (copy)', *names, 'ckpt-best']
  (tmp_path / 'ckpt-60-9-4.index').rename(tmp_path / 'ckpt-60.index')  # as older versions did
  (tmp_path / 'ckpt-60-9-4.data-00000-of-00001').rename(tmp_path / 'ckpt-60.data-00000-of-00001')
  assert checkpointer.Checkpointer(trainer, tmp_path, Workers(None)).restore(rows=9) == 3.0
  (tmp_path / 'ckpt-60-9-5.index').unlink()
  assert checkpointer.Checkpointer(trainer, tmp_path, Workers(None)).restore(rows=9) == 3.0


@pytest.mark.parametrize(('other', 'seconds'), [
    ((60, 5, 4), 1.0), ((66, 5, 4), 2.0), ((72, 5, 4), 2.0), ((54, 5, 4), None),
    ((-1, -1, -1), None)])
def test_workers_go_back_to_the_newest_checkpoint_that_all_of_them_have(other, seconds, tmp_path):
  trainer = Counting()
  keeper = checkpointer.Checkpointer(trainer, tmp_path, Workers(None))
  for trainer.env_steps, wall_seconds in ((60, 1.0), (66, 2.0)):
    keeper.save(wall_seconds, rows=4)
  numbers = iter(other)
  two = types.SimpleNamespace(all_gather=lambda own: [own, next(numbers)])
  restored = checkpointer.Checkpointer(trainer, tmp_path, two)
  if seconds is None:
    with pytest.raises(UserError, match='the workers can resume from steps'):
      restored.restore(rows=9)
  else:
    assert restored.restore(rows=9) == seconds


# Files that are damaged.


def damage(path, content):
  path, = path.parent.glob(path.name)
  path.write_bytes(content(path.read_bytes()))


def cut(content):
  return content[:len(content) * 2 // 3]


def emptied(_):
  return b''


def garbage(content):
  return os.urandom(len(content) or 10)


def test_what_can_be_made_again_is(whole, half, tmp_path):
  root_dir = shutil.copytree(half, tmp_path / 'run')
  for name, content in {
      'run.json': garbage, 'operative_config.gin': emptied, 'checkpoints/checkpoint': garbage,
      'checkpoints/ckpt-60-*.data*': cut, 'train/events*': emptied, 'eval/events*': cut}.items():
    damage(root_dir / name, content)
  damage(root_dir / 'metrics.jsonl', lambda content: content[:-9])
  train(root_dir)
  assert not faults.difference(root_dir, whole)


def test_a_finished_run_mends_its_policy_and_its_summary(whole, tmp_path):
  root_dir = shutil.copytree(whole, tmp_path / 'run')
  damage(root_dir / 'policy/saved_model.pb', garbage)
  damage(root_dir / 'policy/variables/variables.index', emptied)
  damage(root_dir / 'summary.json', garbage)
  summary = train(root_dir)
  assert json.loads((root_dir / 'summary.json').read_text()) == summary
  assert not faults.difference(root_dir, whole)


def test_rows_that_the_newest_checkpoint_follows_on_are_made_again_from_the_one_before(
    whole, half, tmp_path, caplog):
  root_dir = shutil.copytree(half, tmp_path / 'run')
  lines = (root_dir / 'metrics.jsonl').read_bytes().splitlines(keepends=True)
  (root_dir / 'metrics.jsonl').write_bytes(b''.join(lines[:4]) + b'{"env_')
  train(root_dir)
  assert 'ckpt-60-15-6 follows on 6 rows of metrics.jsonl, of which 4 are left' in caplog.text
  assert not faults.difference(root_dir, whole)


@pytest.mark.parametrize(('name', 'content'), [
    ('metrics.jsonl', emptied), ('metrics.jsonl', garbage), ('checkpoints/ckpt-*.index', garbage)])
def test_what_cannot_be_made_again_is_named_and_left_alone(name, content, half, tmp_path):
  root_dir = shutil.copytree(half, tmp_path / 'run')
  for path in root_dir.glob(name):
    path.write_bytes(content(path.read_bytes()))
  before = faults.saved(root_dir)
  with pytest.raises(UserError, match='no checkpoint in .* can be resumed .*restore'):
    train(root_dir)
  assert faults.saved(root_dir) == before


def test_a_configuration_that_cannot_be_read_is_named(tmp_path):
  (tmp_path / 'config.gin').write_bytes(b'\xff\xfe\x00' * 9)
  with pytest.raises(UserError, match='config.gin cannot be read .*restore it'):
    RunFolder(tmp_path, resume=True)


# A world that breaks.


class FaultyTreatment(CancerTreatment):
  """Its state is NaN, or what it is told, where the noise is above a threshold."""
  threshold = 1.7
  fault = float('nan')
  most_rewarded = 1.0  # an action beyond it is too well rewarded

  def _reward(self, state, action, t):
    return tf.where(action[..., 0] > self.most_rewarded, 1e13,
                    super()._reward(state, action, t))

  def step(self, state, action, t, noise=None):
    following = super().step(state, action, t, noise)
    return tf.where(noise > self.threshold, tf.constant(self.fault), following)


@pytest.mark.parametrize('changes', [
    {'fault': float('nan')}, {'fault': 1e20}, {'threshold': 9.0, 'most_rewarded': 0.9}],
    ids=['nan', 'large', 'reward'])
def test_an_episode_whose_numbers_cannot_be_learned_from_is_left_out_and_counted(
    changes, monkeypatch):
  for name, value in changes.items():
    monkeypatch.setattr(FaultyTreatment, name, value)
  trainer = Trainer(FaultyTreatment(6, process_noise=0.01), make_sequence_search_agent, seed=0,
                    warmup_steps=6000)
  episodes = []
  observe = trainer.agent.observe
  trainer.agent.observe = lambda batch: (episodes.append(1), observe(batch))
  for _ in range(10):
    trainer.iterate()
  dropped = trainer.dropped_episodes
  assert 0 < dropped < 10
  assert trainer.env_steps == 60
  kept = trainer.replay.gather_all()
  assert kept.observation.shape[0] == 10 - dropped
  assert all(tf.reduce_all(tf.abs(part) < 1e12) for part in (
      kept.observation, kept.action, kept.reward))
  for _ in range(200):
    trainer.iterate()
  assert trainer.dropped_episodes > 10
  assert not trainer.only_drops_episodes  # those that are not in a row


def test_nothing_is_learned_where_every_episode_was_left_out(monkeypatch):
  monkeypatch.setattr(FaultyTreatment, 'threshold', -float('inf'))
  trainer = Trainer(FaultyTreatment(6, process_noise=0.01), make_sequence_search_agent, seed=0,
                    warmup_steps=6)
  for _ in range(3):
    trainer.iterate()
  assert trainer.dropped_episodes == 3
  assert trainer.updates == 0


def test_a_world_of_nothing_but_nan_stops_the_run_which_goes_on_when_it_is_mended(
    tmp_path, monkeypatch):
  system = functools.partial(FaultyTreatment, process_noise=0.01)
  with monkeypatch.context() as patch, pytest.raises(UserError) as raised:
    patch.setattr(FaultyTreatment, 'threshold', -float('inf'))
    train(tmp_path / 'run', system=system)
  assert '1e12 or more (10 episodes' in raised.value.message
  assert '--resume' in raised.value.message
  assert list(tmp_path.glob('run/checkpoints/ckpt-60-*.index'))
  monkeypatch.setattr(FaultyTreatment, 'threshold', float('inf'))
  summary = train(tmp_path / 'run', system=system)
  last = json.loads((tmp_path / 'run/metrics.jsonl').read_text().splitlines()[-1])
  assert summary['env_steps'] == 90
  assert last['dropped_episodes'] == 10
  assert last['updates'] == 30  # all that the steps after the warm-up call for


def test_a_stop_while_a_profile_is_made_leaves_it(tmp_path, monkeypatch):
  @contextlib.contextmanager
  def stop():
    signal.raise_signal(signal.SIGTERM)
    yield

  at_call(monkeypatch, Trainer, 'iterate', 8, stop)  # the second with updates before it
  with pytest.raises(Stopped):
    train(tmp_path / 'run', profile=True)
  assert list((tmp_path / 'run/train/plugins/profile').glob('*/*.xplane.pb'))


# A peer that is gone.


def test_a_peer_that_is_gone_while_the_variables_are_made_is_one_line(tmp_path, monkeypatch):
  class Two(Workers):
    def __init__(self, _):
      super().__init__(None)
      self._strategy = 'of two workers'

  def broadcast(*_, **__):
    raise tf.errors.UnavailableError(None, None, 'Collective ops is aborted by: peer is down')

  monkeypatch.setattr(train_module, 'Workers', Two)
  with pytest.raises(LostWorkers, match='another worker of this run is gone'):
    train(tmp_path / 'run', make_trainer=broadcast)
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_a_worker_whose_peer_is_killed_ends_with_one_line(tmp_path):
  folder = tmp_path / 'run'
  workers = faults.start_workers(
      ['--gin_file=gin/myriad_markov.gin', '--gin_bindings=NUM_ENV_STEPS=1000000',
       # Nothing has to be compiled for what is never updated; they tell each other of signals.
       '--gin_bindings=Trainer.warmup_steps=1000000'], folder, np.random.default_rng(os.getpid()))
  (left, log), (killed, _) = workers
  try:
    while not (folder / 'metrics.jsonl').exists() and left.poll() is killed.poll() is None:
      time.sleep(0.05)
    killed.kill()
    assert faults.ending(left, log, timeout=60) == 'stopped'
    assert left.returncode == 1
    assert 'error: another worker of this run is gone' in pathlib.Path(log).read_text()
  finally:
    for process, _ in workers:
      process.kill()
      process.wait()


# The soak's own bookkeeping.


def test_a_difference_is_named(whole, tmp_path):
  other = shutil.copytree(whole, tmp_path / 'run')
  assert not faults.difference(other, whole)
  damage(other / 'metrics.jsonl', lambda content: content.replace(b'_steps": 24', b'_steps": 25'))
  assert faults.difference(other, whole).startswith('rows')
  shutil.copy(whole / 'metrics.jsonl', other)
  shutil.copytree(whole / 'policy', other / 'world_model')
  assert faults.difference(other, whole).startswith('world model')
  shutil.rmtree(other / 'world_model')
  damage(other / 'eval/events*', emptied)
  assert faults.difference(other, whole).startswith('TensorBoard')


def test_what_a_resume_did_not_go_on_from_is_lost(whole, half, tmp_path):
  root_dir = shutil.copytree(half, tmp_path / 'run')
  before = faults.Kept(root_dir)
  damage(root_dir / 'checkpoints/ckpt-60-*.data*', cut)
  after = faults.Kept(root_dir)  # of which ckpt-30 is the newest that is whole
  train(root_dir)
  assert not faults.difference(root_dir, whole)  # which does not show it
  assert (before.look(), after.look()) == (1, 0)


def test_workers_keep_what_all_of_them_have(half, tmp_path):
  one, other = (shutil.copytree(half, tmp_path / name) for name in ('one', 'other'))
  next(other.glob('checkpoints/ckpt-60-*.index')).unlink()
  alone, together = faults.Kept(one), faults.Kept(one, other)
  damage(one / 'metrics.jsonl', lambda content: b''.join(content.splitlines(keepends=True)[:-1]))
  assert (alone.look(), together.look()) == (1, 0)
  assert faults.Kept(tmp_path / 'nothing').look() == 0


@pytest.mark.parametrize(('program', 'end'), [
    ('pass', 'done'),
    ('import sys; print("error: the cause", file=sys.stderr); sys.exit(2)', 'stopped'),
    ('raise ValueError("secret")', 'exit code 1: ValueError: secret'),
    ('import os; os.kill(os.getpid(), 9)', 'exit code -9: '),
    ('import sys; print("error: a\\nerror: b", file=sys.stderr); sys.exit(2)',
     'exit code 2: error: b'),
    ('import time; time.sleep(60)', 'no end within 1 s')])
def test_an_ending_is_told(program, end, tmp_path):
  with (tmp_path / 'log').open('w') as log:
    process = subprocess.Popen([sys.executable, '-c', program], stderr=log)
  assert faults.ending(process, tmp_path / 'log', timeout=1 if 'sleep' in program else 60) == end


def test_cells_are_done_once_and_counted(tmp_path, monkeypatch):
  made = soak.cells(['kill', 'truncate'], kills=7, fills=1, damages=2, seed=0)
  assert [cell[2] for cell in made.values() if cell[0] == 'kill'] == [5, 2]
  assert made == soak.cells(['kill', 'truncate'], kills=7, fills=1, damages=2, seed=0)
  done = []

  def do(cell, folder, *_):
    done.append(cell)
    folder.mkdir()
    if len(done) == 2:
      raise Killed()
    wrong = len(done) == 4
    return {'times': 1, 'identical': int(not wrong), 'stopped': 0, 'other': int(wrong), 'lost': 0,
            'detail': ''}

  monkeypatch.setattr(soak, '_do', do)
  monkeypatch.setattr(soak, '_whole', lambda *_: ([], tmp_path, 1.0))
  with pytest.raises(Killed):
    soak.soak(tmp_path, made)
  rows = soak.soak(tmp_path, made)
  assert [*dict.fromkeys(done)] == list(made.values())
  assert len(done) == len(made) + 1
  assert sum(row['other'] for row in rows) == 1
  assert len(list((tmp_path / 'cells').iterdir())) == 1  # only what went wrong is kept
  assert '| kill | 2 | 2 | 0 | 0 | 0 |' in soak.table(rows)
  assert soak.soak(tmp_path, made) == rows
  assert len(done) == len(made) + 1


@pytest.mark.slow
def test_a_soak(tmp_path):
  done = subprocess.run(
      [sys.executable, '-m', 'benchmarks.soak', '--faults=kill,truncate', '--kills=1',
       '--damages=1', f'--out={tmp_path}'], cwd=REPOSITORY, capture_output=True, text=True,
      check=False)
  assert done.returncode == 0, done.stderr
  assert '| kill | 1 | 1 | 0 | 0 | 0 |' in done.stdout
