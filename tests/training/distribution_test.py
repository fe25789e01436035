"""Replicas do what one device does with the whole batch, and stop and go on together."""

import json
import os
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from asm_tf.agents.execution import Execution
from asm_tf.errors import UserError
from asm_tf.training import strategies
from asm_tf.training.strategies import make_strategy
from asm_tf.training.workers import Workers
from tests.support.paths import REPOSITORY

SCRIPT = REPOSITORY / 'tests' / 'support' / 'replicas_against_one_device.py'


def start(*arguments, **environment):
  return subprocess.Popen(
      [sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      text=True, cwd=REPOSITORY, env=os.environ | {'PYTHONPATH': str(REPOSITORY)} | environment)


def start_workers(*arguments):
  """Two workers on free ports of this machine."""
  with socket.socket() as one, socket.socket() as other:
    for port in (one, other):
      port.bind(('127.0.0.1', 0))
    addresses = [f'127.0.0.1:{port.getsockname()[1]}' for port in (one, other)]
  return [start('multi_worker', *arguments, TF_CONFIG=json.dumps(
      {'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': i}}))
          for i in range(2)]


def printed(*processes):
  """What each printed last; none of them outlives the test."""
  found = []
  try:
    for process in processes:
      out, err = process.communicate(timeout=400)
      assert process.returncode == 0, err[-3000:]
      found.append(json.loads(out.splitlines()[-1]))
  finally:
    for process in processes:
      process.kill()
      process.wait()
  return found


@pytest.mark.parametrize('names', [
    ['ASM under XLA', 'ASM with a critic'],
    pytest.param(['SAC', 'decision transformer'], marks=pytest.mark.slow)])
def test_two_devices_learn_what_one_does(names):
  differences, = printed(start('mirrored', *names))
  assert list(differences) == names
  assert max(differences.values()) < 1e-5, differences


@pytest.mark.parametrize('name', ['ASM', pytest.param('SAC', marks=pytest.mark.slow)])
def test_two_workers_learn_what_one_device_does(name):
  for differences in printed(*start_workers(name)):
    assert list(differences) == [name]
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.slow
def test_workers_stop_and_go_on_together(tmp_path):
  workers = start_workers('--stop', str(tmp_path / 'run'))
  assert printed(*workers) == [120, 120]
  rows = [(tmp_path / name / 'metrics.jsonl').read_text() for name in ('run', 'run-worker-1')]
  one, other = ([{key: value for key, value in json.loads(line).items() if 'second' not in key}
                 for line in text.splitlines()] for text in rows)
  assert one == other
  assert one[-1]['env_steps'] == 120


def test_workers_of_different_configurations_are_refused(monkeypatch):
  workers = Workers(None)
  monkeypatch.setattr(workers, 'all_gather', lambda value: [value, value])
  workers.require_same('HORIZON = 20')
  monkeypatch.setattr(workers, 'all_gather', lambda value: [value, value + 1])
  with pytest.raises(UserError, match='different configurations'):
    workers.require_same('HORIZON = 20')


def test_a_shard_is_a_replicas_part_of_the_batch():
  strategy = tf.distribute.OneDeviceStrategy('CPU:0')
  x = tf.random.stateless_normal([6, 3], [0, 0])
  seen = []

  def moments(x):
    seen.append(x.shape)
    return tf.reduce_mean(x), [tf.reduce_mean(x**2, 0)]

  program = Execution(strategy, jit_compile=False, microbatches=1).gradient_program(moments)
  (mean, [squares]), = tf.function(program)(x)
  assert seen == [[6, 3]]
  assert float(mean) == pytest.approx(float(tf.reduce_mean(x)))
  tf.debugging.assert_near(squares, tf.reduce_mean(x**2, 0))
  assert squares.shape == [3]


def test_a_batch_that_cannot_be_shared_is_refused():
  strategy = type('Three', (), {'num_replicas_in_sync': 3})
  execution = Execution(strategy, microbatches=1)
  execution.require_shardable('batch_size', 66)
  with pytest.raises(UserError, match='batch_size is 64, which 3 replicas cannot share'):
    execution.require_shardable('batch_size', 64)


@pytest.mark.parametrize(('asked', 'config', 'cause'), [
    ({'use_gpu': True}, '', 'finds none'),
    ({'name': 'mirrored'}, '', 'finds none'),
    ({'tpu': 'local'}, '', 'no TPU answers'),
    ({'tpu': 'local', 'use_gpu': True}, '', 'give one'),
    ({'tpu': 'local', 'name': 'mirrored'}, '', 'give one'),
    ({'name': 'multi_worker'}, '', 'needs the environment variable TF_CONFIG'),
    ({}, '{"cluster"', 'does not describe a cluster'),
    ({}, '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
     'does not describe a cluster'),
    ({'name': 'multi_worker', 'replicas': 2}, '', 'leave it'),
    ({'name': 'one_device', 'replicas': 2}, '', 'is for several'),
    ({'tpu': 'local'}, '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
     'no TPU answers'),  # whose cluster that is does not matter
])
def test_what_is_not_there_is_named(asked, config, cause, monkeypatch):
  monkeypatch.setenv('TF_CONFIG', config)
  if asked.get('use_gpu') or asked.get('name') == 'mirrored':
    monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: [])
  with pytest.raises(UserError, match=cause):
    make_strategy(**asked)


def cluster(size):
  workers = [f'host{i}:1' for i in range(size)]
  return json.dumps({'cluster': {'worker': workers}, 'task': {'type': 'worker', 'index': 0}})


@pytest.mark.parametrize(('asked', 'workers', 'gpus', 'chosen'), [
    ({}, 0, 0, 'one_device'), ({}, 0, 1, 'one_device'), ({}, 0, 2, 'mirrored'),
    ({'replicas': 2}, 0, 0, 'mirrored'), ({'replicas': 1}, 0, 2, 'one_device'),
    ({}, 1, 0, 'one_device'), ({}, 1, 2, 'mirrored'), ({}, 2, 0, 'multi_worker'),
    ({}, 2, 2, 'multi_worker'), ({'tpu': 'local'}, 2, 0, 'tpu')])
def test_what_there_is_decides(asked, workers, gpus, chosen, monkeypatch):
  monkeypatch.setenv('TF_CONFIG', cluster(workers) if workers else '')
  monkeypatch.setattr(strategies, '_visible_gpus', lambda use_gpu: [None] * gpus)
  for name in ('one_device', 'mirrored', 'multi_worker', 'tpu'):
    monkeypatch.setattr(strategies, f'_{name}', lambda *_, name=name: name)
  assert make_strategy(**asked) == chosen


@pytest.mark.parametrize('root_dir', ['runs/x', 'runs/x/', './runs//x'])
def test_a_worker_has_its_folder_beside_the_first_ones(root_dir, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  workers = Workers(None)
  workers.index = 1
  assert workers.folder(root_dir) == str(tmp_path / 'runs/x-worker-1')


def test_without_devices_to_share_there_is_no_strategy(monkeypatch):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: [])
  monkeypatch.setattr(tf.config, 'set_visible_devices', lambda *_: None)
  assert make_strategy() is None
  workers = Workers(None)
  assert workers.all_gather(7) == [7]
  assert workers.folder('run') == 'run'
