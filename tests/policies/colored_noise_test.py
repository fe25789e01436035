"""Coloured noise: its marginals, its spectrum, and episodes of their own."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from tf_agents.trajectories import time_step as ts

from asm_tf.errors import UserError
from asm_tf.policies.colored_noise import ColoredNoise


def noise_of(exponent, horizon=64, size=2, seed=0):
  generator = tf.random.Generator.from_seed(seed, alg='philox')
  return ColoredNoise(generator, horizon, size, exponent)


@pytest.mark.parametrize('exponent', [0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize('horizon', [1, 2, 7, 64])
def test_every_step_is_standard_normal(exponent, horizon):
  draws = noise_of(exponent, horizon).draw(4000).numpy()
  assert draws.shape == (4000, horizon, 2)
  for t in {0, horizon // 2, horizon - 1}:
    assert scipy.stats.kstest(draws[:, t, 1], 'norm').pvalue > 1e-3


@pytest.mark.parametrize('exponent', [0, 1.0, 2.0])
def test_the_power_falls_with_the_frequency_to_the_exponent(exponent):
  draws = noise_of(exponent, 256).draw(2000).numpy()[..., 0]
  power = np.mean(np.abs(np.fft.rfft(draws))**2, 0)[1:-1]
  slope = np.polyfit(np.log(np.arange(1, 128)), np.log(power), 1)[0]
  np.testing.assert_allclose(slope, -exponent, atol=0.03)


def test_components_and_episodes_are_independent():
  draws = noise_of(1.0).draw(2000).numpy().mean(1)  # the means of episodes
  assert abs(np.corrcoef(draws.T)[0, 1]) < 0.1
  assert abs(np.corrcoef(draws[1:, 0], draws[:-1, 0])[0, 1]) < 0.1


def test_a_policy_state_lasts_an_episode_and_is_drawn_anew_in_the_next():
  noise = noise_of(1.0, horizon=5)
  state = {'noise': tf.zeros([3, 5, 2])}
  seen = []
  for t in (0, 1, 2, 3, 4, 5, 0):
    kind = ts.StepType.FIRST if t == 0 else ts.StepType.LAST if t == 5 else ts.StepType.MID
    observation = tf.fill([3, 4], float(t))
    step, state = noise.step(ts.TimeStep(
        tf.fill([3], kind), tf.zeros([3]), tf.ones([3]), observation), state)
    seen.append((step.numpy(), state['noise'].numpy()))
  for t in range(5):
    np.testing.assert_array_equal(seen[t][0], seen[0][1][:, t])
    np.testing.assert_array_equal(seen[t][1], seen[0][1])
  assert np.all(seen[6][1] != seen[0][1])


def test_only_the_copies_that_begin_draw_anew():
  noise, state = noise_of(1.0, horizon=5), {'noise': tf.zeros([2, 5, 2])}
  kinds = tf.stack([ts.StepType.FIRST, ts.StepType.MID])
  _, state = noise.step(
      ts.TimeStep(kinds, tf.zeros([2]), tf.ones([2]), tf.constant([[0.0], [3.0]])), state)
  assert np.all(state['noise'][0] != 0)
  np.testing.assert_array_equal(state['noise'][1], np.zeros([5, 2]))


@pytest.mark.parametrize('exponent', [-1.0, float('nan'), float('inf'), 'pink'])
def test_a_bad_exponent_is_one_line(exponent):
  with pytest.raises(UserError, match='ColoredNoise.exponent is .*: give a number of at least 0'):
    noise_of(exponent)
