"""Whole episodes go in, whole episodes come out, uniformly and repeatably."""

import collections

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.drivers.dynamic_step_driver import DynamicStepDriver

from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.errors import UserError
from asm_tf.replay.episode_accumulator import EpisodeAccumulator
from asm_tf.replay.episode_replay_buffer import EpisodeReplayBuffer
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from asm_tf.systems.rollout import simulate
from tests.support.uniform_policy import uniform_policy

LENGTH, CAPACITY = 3, 5  # rows an episode, episodes kept
Row = collections.namedtuple('Row', 'number state')
SPEC = Row(tf.TensorSpec([], tf.int64), tf.TensorSpec([2], tf.float32))


def episodes(first, count):
  """Episode i has rows 10 i, 10 i + 1, ... and states that follow from them."""
  numbers = 10 * np.arange(first, first + count)[:, None] + np.arange(LENGTH)
  states = np.stack([numbers, -numbers], -1)
  return Row(tf.constant(numbers, tf.int64), tf.constant(states, tf.float32))


def build(seed=0):
  return EpisodeReplayBuffer(SPEC, LENGTH, seed, capacity=CAPACITY * (LENGTH - 1))


def assert_whole(items):
  first = items.number[..., :1]
  np.testing.assert_array_equal(first % 10, tf.zeros_like(first))
  np.testing.assert_array_equal(items.number, first + np.arange(LENGTH))
  np.testing.assert_array_equal(items.state[..., 0], items.number)
  np.testing.assert_array_equal(items.state[..., 1], -items.number)


@pytest.mark.parametrize('sizes', [(1,), (2, 1, 1), (5,), (3, 3, 3), (1,) * 12])
def test_the_ring_keeps_the_latest_whole_episodes(sizes):
  replay, added = build(), 0
  for size in sizes:
    replay.add_batch(episodes(added, size))
    added += size
  kept = min(added, CAPACITY)
  items = replay.gather_all()
  assert_whole(items)
  assert sorted(items.number[:, 0].numpy() // 10) == list(range(added - kept, added))
  assert replay.num_frames() == kept * LENGTH
  drawn, _ = replay.get_next(200)
  assert drawn.number.shape == (200, LENGTH)
  assert drawn.state.shape == (200, LENGTH, 2)
  assert_whole(drawn)
  assert set(drawn.number[:, 0].numpy() // 10) == set(range(added - kept, added))


@pytest.mark.parametrize('in_graph', [False, True])
def test_sampling_is_uniform(in_graph):
  replay, draws = build(), 20_000
  replay.add_batch(episodes(0, 4))  # not yet full
  get_next = tf.function(replay.get_next) if in_graph else replay.get_next
  drawn, _ = get_next(draws)
  counts = np.bincount(drawn.number[:, 0] // 10, minlength=4)
  chi_square = np.sum((counts - draws / 4) ** 2 / (draws / 4))
  assert chi_square < 16.3  # 3 degrees of freedom: exceeded once in a thousand seeds
  again, _ = get_next(draws)
  repeated = np.mean(again.number[:, 0] == drawn.number[:, 0])
  assert repeated == pytest.approx(1 / 4, abs=0.02)  # draws are independent


def test_a_restored_buffer_draws_the_same(tmp_path):
  replay, other = build(seed=1), build(seed=2)
  replay.add_batch(episodes(0, 7))
  replay.get_next(3)
  path = tf.train.Checkpoint(replay=replay).save(str(tmp_path / 'checkpoint'))
  replay.add_batch(episodes(7, 1))
  expected = [replay.get_next(20)[0].number.numpy() for _ in range(3)]
  tf.train.Checkpoint(replay=other).restore(path).assert_consumed()
  other.add_batch(episodes(7, 1))
  actual = [other.get_next(20)[0].number.numpy() for _ in range(3)]
  np.testing.assert_array_equal(actual, expected)


def test_the_seed_fixes_the_draws():
  def draw(seed):
    replay = build(seed)
    replay.add_batch(episodes(0, CAPACITY))
    return replay.get_next(50)[0].number.numpy()

  np.testing.assert_array_equal(draw(1), draw(1))
  assert np.any(draw(1) != draw(2))


def test_clear_empties_it():
  replay = build()
  replay.add_batch(episodes(0, 4))
  replay.clear()
  assert replay.num_frames() == 0
  replay.add_batch(episodes(4, 1))
  assert set(replay.get_next(20)[0].number[:, 0].numpy()) == {40}


def test_a_dataset_and_a_single_item_are_whole_episodes():
  replay = build()
  replay.add_batch(episodes(0, CAPACITY))
  item, _ = replay.get_next()
  assert item.number.shape == (LENGTH,)
  assert_whole(item)
  for items, _ in replay.as_dataset(sample_batch_size=4).take(3):
    assert items.number.shape == (4, LENGTH)
    assert_whole(items)


@pytest.mark.parametrize('ask', [
    lambda replay: replay.get_next(2, num_steps=2),
    lambda replay: replay.get_next(2, num_steps=2, time_stacked=False),
    lambda replay: replay.as_dataset(num_parallel_calls=2),
    lambda replay: replay.as_dataset(single_deterministic_pass=True)])
def test_what_it_does_not_do_it_says(ask):
  replay = build()
  replay.add_batch(episodes(0, 1))
  with pytest.raises(NotImplementedError):
    ask(replay)


@pytest.mark.parametrize('in_graph', [True, False])
def test_episodes_of_the_wrong_length_are_refused(in_graph):
  replay = build()
  add_batch = tf.function(replay.add_batch) if in_graph else replay.add_batch
  with pytest.raises(ValueError, match='an episode has .* rows, expected'):
    add_batch(tf.nest.map_structure(lambda x: x[:, :-1], episodes(0, 2)))


def test_an_empty_buffer_has_nothing_to_draw():
  with pytest.raises(tf.errors.InvalidArgumentError):
    build().get_next(2)


H, B = 4, 2


def collect(driver_class, **arguments):
  """What the driver emits and the batches that the accumulator completes, both in order."""
  env = SystemEnvironment(InvasivePlant(H), B)
  policy = uniform_policy(env, H)
  rows, batches = [], []
  accumulator = EpisodeAccumulator(policy.trajectory_spec, B, H + 1)

  def accumulate(row):
    if accumulator(row):
      batches.append(accumulator.latest())

  observers = [lambda row: rows.append(tf.nest.map_structure(tf.identity, row)), accumulate]
  return driver_class(env, policy, observers, **arguments), rows, batches


def stack(rows):
  return tf.nest.map_structure(lambda *x: np.stack(x, 1), *rows)


def assert_same(actual, expected):
  tf.nest.map_structure(np.testing.assert_array_equal, actual, expected)


def test_the_accumulator_holds_what_the_driver_emits():
  driver, rows, batches = collect(DynamicEpisodeDriver, num_episodes=3 * B)
  driver.run()
  assert len(batches) == 3
  for i, batch in enumerate(batches):
    start = i * (H + 1)  # the driver's last row, a boundary, holds s_H
    assert_same(batch, stack(rows[start:start + H + 1]))
    assert np.all(batch.is_first()[:, 0])
    assert np.all(batch.is_boundary()[:, -1])
    states, rewards = simulate(InvasivePlant(H), batch.action[:, :-1])
    np.testing.assert_allclose(batch.observation[..., :-1], states, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batch.reward[:, :-1], rewards, rtol=1e-5, atol=1e-6)


def test_the_accumulator_joins_the_parts_of_an_episode():
  driver, rows, batches = collect(DynamicStepDriver, num_steps=B)
  time_step = None
  for _ in range(2 * (H + 1)):
    time_step, _ = driver.run(time_step)
  assert [len(rows), len(batches)] in ([2 * (H + 1), 2], [2 * (H + 1) + 2, 2])
  assert_same(batches[0], stack(rows[:H + 1]))
  assert_same(batches[1], stack(rows[H + 1:2 * (H + 1)]))


def test_the_accumulator_drops_an_episode_cut_short_by_a_reset():
  driver, rows, batches = collect(DynamicStepDriver, num_steps=B)
  driver.run()
  driver.run()
  driver.env.reset()
  del rows[:]
  for _ in range(H + 1):
    driver.run()
  assert len(batches) == 1
  assert_same(batches[0], stack(rows[:H + 1]))


def test_the_accumulator_fills_the_replay_in_a_graph():
  env = SystemEnvironment(InvasivePlant(H), B)
  policy = uniform_policy(env, H)
  replay = EpisodeReplayBuffer(policy.trajectory_spec, H + 1, capacity=100)
  accumulator = EpisodeAccumulator(policy.trajectory_spec, B, H + 1)
  driver = DynamicEpisodeDriver(env, policy, [accumulator], num_episodes=B)
  run = tf.function(driver.run, jit_compile=True, autograph=False)  # as a training runs it
  for _ in range(2):
    run()
    replay.add_batch(accumulator.latest())
  assert replay.num_frames() == 2 * B * (H + 1)
  items = replay.gather_all()
  assert_same(tf.nest.map_structure(lambda x: x[B:], items), accumulator.latest())
  states, _ = simulate(InvasivePlant(H), items.action[:, :-1])
  np.testing.assert_allclose(items.observation[..., :-1], states, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('horizon', 'most', 'expected'), [
    (20, 64, 64), (50, 64, 40), (100, 64, 20), (200, 64, 8), (500, 64, 4), (1000, 64, 2),
    (2000, 64, 1), (2048, 64, 1), (100, 7, 7)])
def test_a_batch_holds_as_many_episodes_as_its_steps_allow(horizon, most, expected):
  replay = EpisodeReplayBuffer(tf.TensorSpec([]), horizon + 1, batch_steps=2048)
  assert replay.batch_size(most) == expected
  assert EpisodeReplayBuffer(tf.TensorSpec([]), horizon + 1).batch_size(most) == most


def test_a_batch_of_less_than_an_episode_is_one_line():
  with pytest.raises(UserError, match='EpisodeReplayBuffer.batch_steps is 99: .* at least 100'):
    EpisodeReplayBuffer(tf.TensorSpec([]), 101, batch_steps=99)
