"""What does not fit is one line, with its size, before anything is allocated."""

import functools

import pytest
import tensorflow as tf

from asm_tf import memory
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.errors import UserError
from asm_tf.models.lstm import LSTM
from asm_tf.replay.episode_replay_buffer import EpisodeReplayBuffer
from asm_tf.replay.window_replay_buffer import WindowReplayBuffer
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training import train as train_module
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.train import RunOptions
from asm_tf.training.trainer import Trainer
from asm_tf.training.training_loop import TrainingLoop


def test_there_is_some_memory():
  assert 2**28 < memory.usable_memory() < 2**45


def test_too_much_is_one_line_with_both_figures():
  memory.require_memory(1000, 'this', 'less')
  with pytest.raises(UserError, match=r'take 1,048,576.0 GiB, and .* has \d+\.\d: less'):
    memory.require_memory(2**50, 'a batch', 'less')


@pytest.mark.parametrize('build', [
    lambda spec: EpisodeReplayBuffer(spec, 11, capacity=10**9),
    lambda spec: WindowReplayBuffer(tf.nest.map_structure(lambda x: x, spec), 11, 3,
                                    capacity=10**9)])
def test_a_replay_says_what_it_may_take(build):
  replay = build(tf.TensorSpec([256]))
  assert 1000 * 1024 <= replay.most_bytes(1000) <= 1200 * 1024
  assert replay.most_bytes(10**12) <= 1.2 * 10**9 * 1024


def train(root_dir, make_trainer=Trainer, make_agent=make_asm_agent, steps=100):
  train_module.train(
      RunOptions(str(root_dir)), CancerTreatment, 6, make_agent, make_trainer=make_trainer,
      make_loop=functools.partial(TrainingLoop, steps))


@pytest.mark.parametrize(('settings', 'usable', 'message'), [
    ({'make_trainer': functools.partial(Trainer, batch_size=10**12)},
     2**34, r'a batch would take [\d,.]+ GiB.*: give a smaller Trainer.batch_size'),
    ({'steps': 10**15}, 2**20, r'the replay of this run would take'),
    ({'make_agent': functools.partial(make_asm_agent, world_model=functools.partial(
        LSTM, hidden_sizes=(10**8,)))}, 2**34, 'too little memory .*give smaller sizes')])
def test_a_run_that_cannot_fit_leaves_nothing(settings, usable, message, tmp_path, monkeypatch):
  monkeypatch.setattr(memory, 'usable_memory', lambda: usable)
  with pytest.raises(UserError, match=message) as raised:
    train(tmp_path / 'run', **settings)
  assert '\n' not in raised.value.message
  assert not (tmp_path / 'run/metrics.jsonl').exists()


def test_more_episodes_than_fit_are_not_evaluated():
  with pytest.raises(UserError, match='1000000000 episodes would take .*: evaluate fewer'):
    Evaluator(CancerTreatment(20, process_noise=0.1), None, episodes=10**9)
