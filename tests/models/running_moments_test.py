"""Running moments against numpy over the whole stream, and the normaliser on top."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.models.running_moments import RunningMoments


def stream(batches, size=3, scale=(1.0, 100.0, 0.01), offset=(0.0, -50.0, 3.0), seed=0):
  generator = np.random.default_rng(seed)
  return [offset + np.array(scale) * generator.normal(size=(batch, size)) for batch in batches]


def moments_of(batches, dtype=tf.float64):
  moments = RunningMoments(batches[0].shape[-1], dtype)
  for batch in batches:
    moments.update(tf.constant(batch, dtype))
  return moments


@pytest.mark.parametrize('batches', [(1,), (7, 1, 13, 64), (5, 0, 5)])
def test_equal_the_moments_of_all_data(batches):
  data = stream(batches)
  moments, everything = moments_of(data), np.concatenate(data)
  np.testing.assert_allclose(moments.mean, everything.mean(0), rtol=1e-12)
  expected = everything.std(0) if len(everything) > 1 else np.ones(3)
  np.testing.assert_allclose(moments.std, expected, rtol=1e-10)


def test_a_small_spread_counts_and_rounding_does_not():
  data = np.random.default_rng(0).normal(size=(100, 3)) * 1e-9 + np.array([0, 1e-8, 0])
  np.testing.assert_allclose(moments_of([data], tf.float32).std, data.std(0), rtol=1e-4)
  constant = moments_of([np.full([100, 3], [0.0, 1e-8, 12345.678])] * 3, tf.float32)
  np.testing.assert_array_equal(constant.std, np.ones(3))


def test_are_zero_and_one_before_the_first_update():
  moments = RunningMoments(3)
  np.testing.assert_array_equal(moments.mean, np.zeros(3))
  np.testing.assert_array_equal(moments.std, np.ones(3))


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf, 1e20])
def test_leave_out_rows_that_are_not_finite_or_whose_squares_would_not_be(bad):
  data = stream((7, 5))
  spoilt = np.insert(data[0], [0, 3], data[0][:2], axis=0)
  spoilt[0, 1], spoilt[4, 2] = bad, bad
  moments = moments_of([spoilt, np.full((2, 3), bad), data[1]])
  expected = moments_of(data)
  np.testing.assert_allclose(moments.mean, expected.mean, rtol=1e-12)
  np.testing.assert_allclose(moments.std, expected.std, rtol=1e-12)


@pytest.mark.parametrize(('constant', 'dtype'), [
    (0.0, tf.float32), (0.1, tf.float32), (12345.678, tf.float32), (12345.678, tf.float64)])
def test_a_constant_column_has_std_one(constant, dtype):
  moments = moments_of([np.full((size, 1), constant) for size in (33, 1, 501)], dtype)
  np.testing.assert_allclose(moments.mean, [constant], rtol=1e-5)
  np.testing.assert_array_equal(moments.std, [1])


def test_a_large_offset_keeps_its_precision_in_float32():
  data = stream((101,) * 30, 1, (1.0,), (1e4,))
  moments, everything = moments_of(data, tf.float32), np.concatenate(data)
  np.testing.assert_allclose(moments.std, everything.std(0), rtol=1e-3)
  np.testing.assert_allclose(moments.mean, everything.mean(0), atol=1e-2)


def normalizer_of(states, **arguments):
  normalizer = Normalizer(states.shape[-1], 20, dtype=tf.float64, **arguments)
  normalizer.update(tf.constant(states))
  return normalizer


def test_normalizer_standardises_and_comes_back():
  states = stream((60,))[0].reshape(5, 12, 3)  # whole episodes, any leading shape
  normalizer = normalizer_of(states)
  normalized = normalizer.normalize(states)
  np.testing.assert_allclose(np.mean(normalized, (0, 1)), np.zeros(3), atol=1e-9)
  np.testing.assert_allclose(np.std(normalized, (0, 1)), np.ones(3), rtol=1e-9)
  np.testing.assert_allclose(normalizer.denormalize(normalized), states, rtol=1e-10)


def test_normalizer_gives_time_features_of_order_one():
  normalizer, steps = normalizer_of(stream((4,))[0]), 21
  time = normalizer.time(tf.range(steps)[None]).numpy()
  assert time.shape == (1, steps, normalizer.time_size)
  assert np.abs(time).max() <= 1
  np.testing.assert_allclose(time[0, [0, 10, 20], 0], [-1, 0, 1])
  assert len(np.unique(time[0], axis=0)) == steps


def test_time_is_a_ramp_and_waves_an_octave_apart():
  normalizer = normalizer_of(stream((4,))[0])
  share = np.arange(21)[:, None] / normalizer.horizon
  waves = np.pi * share * [1, 2, 4, 8, 16]
  np.testing.assert_allclose(
      normalizer.time(tf.range(21)),
      np.concatenate([2 * share - 1, np.sin(waves), np.cos(waves)], 1), atol=1e-9)


@pytest.mark.parametrize('horizon', [2, 20, 50, 100, 500, 2000])
def test_waves_that_resolve_steps_tell_one_from_the_next(horizon):
  normalizer = Normalizer(1, horizon).resolving_steps()
  time = normalizer.time(tf.range(horizon + 1)).numpy()
  fastest = 2 * horizon / 2 ** ((normalizer.time_size - 1) // 2 - 1)  # steps
  assert fastest <= 5
  assert fastest >= 2.5 or normalizer.time_size == Normalizer(1, horizon).time_size
  assert horizon < 20 or np.min(np.linalg.norm(np.diff(time, axis=0), axis=1)) > 1


def test_a_disabled_normalizer_passes_everything_through():
  states = stream((9,))[0]
  normalizer = normalizer_of(states, enabled=False)
  np.testing.assert_array_equal(normalizer.normalize(states), states)
  np.testing.assert_array_equal(normalizer.denormalize(states), states)
  np.testing.assert_array_equal(normalizer.time(tf.constant([0, 10])), [[0], [10]])


def test_no_gradient_trains_the_moments():
  assert not RunningMoments(3).trainable_variables
