"""Windows of the steps that happened, each as likely, padded where their episode ends."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.errors import UserError
from asm_tf.replay import episode_steps
from asm_tf.replay.window_replay_buffer import WindowReplayBuffer

H = 6
SPEC = Trajectory(
    step_type=tf.TensorSpec([], tf.int32), observation=tf.TensorSpec([2]),
    action=tf.TensorSpec([1]), policy_info=(), next_step_type=tf.TensorSpec([], tf.int32),
    reward=tf.TensorSpec([]), discount=tf.TensorSpec([]))


def episode(number, length):
  """A padded episode whose step t has the observation (number, t) and the reward 10 number + t."""
  t = np.minimum(np.arange(H + 1), length)
  step_type = np.where(t == 0, ts.StepType.FIRST, ts.StepType.MID)
  step_type = np.where(t == length, ts.StepType.LAST, step_type)
  next_type = np.where(t == length - 1, ts.StepType.LAST, ts.StepType.MID)
  next_type = np.where(t == length, ts.StepType.FIRST, next_type)
  taken = np.arange(H + 1) < length
  observation = np.stack([np.full(H + 1, number), t], -1)
  return Trajectory(
      step_type=tf.constant(step_type[None], tf.int32),
      observation=tf.constant(observation[None], tf.float32),
      action=tf.constant(np.where(taken, 0.01 * t, 0)[None, :, None], tf.float32), policy_info=(),
      next_step_type=tf.constant(next_type[None], tf.int32),
      reward=tf.constant(np.where(taken, 10 * number + t, 0)[None], tf.float32),
      discount=tf.constant(np.where(taken, t < length - 1, 0)[None], tf.float32))


def build(window, lengths=(), capacity=100, seed=0, integer_dtype=None):
  replay = WindowReplayBuffer(SPEC, H + 1, window, seed, capacity, integer_dtype)
  for number, length in enumerate(lengths):
    replay.add_batch(episode(number, length))
  return replay


@pytest.mark.parametrize('window', [1, 3, H + 2])
@pytest.mark.parametrize('in_graph', [False, True])
def test_a_window_is_what_happened(window, in_graph):
  lengths = [6, 1, 4, 6]
  replay = build(window, lengths)
  draw = tf.function(replay.get_next) if in_graph else replay.get_next
  windows = draw(200)[0]
  taken = episode_steps.steps_taken(windows).numpy()
  assert taken.shape == (200, window)
  assert np.all(taken[:, 0])  # no window begins at the end of an episode
  for i in range(200):
    number, first = windows.observation[i, 0].numpy().astype(int)
    t = np.minimum(first + np.arange(window + 1), lengths[number])
    np.testing.assert_array_equal(
        windows.observation[i], np.stack([np.full_like(t, number), t], -1))
    np.testing.assert_array_equal(taken[i], first + np.arange(window) < lengths[number])
    np.testing.assert_array_equal(windows.reward[i, :-1], taken[i] * (10 * number + t[:-1]))
    np.testing.assert_array_equal(
        windows.discount[i, :-1], taken[i] & (t[:-1] < lengths[number] - 1))


@pytest.mark.parametrize('capacity', [100, 9, 20])
def test_every_step_that_is_kept_begins_a_window_as_often(capacity):
  lengths = [6, 1, 4, 6, 2, 1, 5]
  replay = build(2, lengths, capacity)
  rows = [(number, t, t < length) for number, length in enumerate(lengths)
          for t in range(length + 1)][-capacity:]
  steps = [(number, t) for number, t, is_step in rows if is_step]
  assert replay.num_frames() == len(steps)
  np.testing.assert_array_equal(
      replay.gather_all().observation, [(number, t) for number, t, _ in rows])
  drawn = replay.get_next(4000)[0].observation[:, 0].numpy()
  found, counts = np.unique(drawn, axis=0, return_counts=True)
  assert sorted(map(tuple, found.astype(int))) == steps
  expected = 4000 / len(steps)
  assert np.sum((counts - expected)**2 / expected) < len(steps) + 5 * np.sqrt(2 * len(steps))


def test_a_batch_of_episodes_is_as_good_as_one_after_the_other():
  one, other = build(2, [6, 3]), build(2)
  other.add_batch(tf.nest.map_structure(
      lambda *parts: tf.concat(parts, 0), episode(0, 6), episode(1, 3)))
  tf.nest.map_structure(np.testing.assert_array_equal, one.gather_all(), other.gather_all())
  tf.nest.map_structure(
      np.testing.assert_array_equal, one.get_next(20)[0], other.get_next(20)[0])


def test_a_restored_buffer_draws_the_same(tmp_path):
  replay = build(2, [6, 1, 4, 6, 2], capacity=15)
  replay.get_next(3)
  path = tf.train.Checkpoint(replay=replay).save(str(tmp_path / 'replay'))
  restored = build(2, capacity=15, seed=9)
  tf.train.Checkpoint(replay=restored).restore(path).assert_consumed()
  for buffer in (replay, restored):
    buffer.add_batch(episode(7, 5))
  tf.nest.map_structure(
      np.testing.assert_array_equal, replay.get_next(30)[0], restored.get_next(30)[0])


def test_states_stored_as_integers_are_drawn_as_floats():
  lengths = [6, 1, 4]
  plain, stored = build(2, lengths), build(2, lengths, integer_dtype=tf.uint8)
  tf.nest.map_structure(np.testing.assert_array_equal, plain.gather_all(), stored.gather_all())
  tf.nest.map_structure(
      np.testing.assert_array_equal, plain.get_next(20)[0], stored.get_next(20)[0])
  assert stored.most_bytes(100) == plain.most_bytes(100) - 100 * 3


def test_clear_empties_it():
  replay = build(2, [6, 6, 6], capacity=10)
  replay.clear()
  assert replay.num_frames() == 0
  replay.add_batch(episode(3, 2))
  assert set(replay.get_next(20)[0].observation[:, 0, 0].numpy()) == {3.0}


def test_less_room_than_an_episode_is_one_line():
  with pytest.raises(UserError, match='WindowReplayBuffer.capacity is 6: .* at least 7'):
    build(1, capacity=6)


@pytest.mark.parametrize('ask', [
    lambda replay: replay.get_next(2, num_steps=2), lambda replay: replay.get_next(),
    lambda replay: replay.as_dataset(2),
    lambda replay: replay.as_dataset(single_deterministic_pass=True)])
def test_what_it_does_not_do_it_says(ask):
  with pytest.raises(NotImplementedError):
    ask(build(1, [4]))
