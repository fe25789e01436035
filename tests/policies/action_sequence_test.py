"""A policy of free actions: gradient ascent on it is gradient ascent on the return."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.errors import UserError
from asm_tf.gradients.policy_gradient import open_loop_policy_gradient
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.policies.action_sequence import ActionSequence
from asm_tf.systems.myriad.bioreactor import Bioreactor

H = 6


def sequence(seed=0):
  actor = ActionSequence(Normalizer(1, H, dtype=tf.float64), 1, 1, dtype='float64')
  actor.trainable_variables[0].assign(np.random.default_rng(seed).normal(size=[H, 1]))
  return actor


def state(*shape):
  return tf.random.normal(shape, dtype=tf.float64)


def test_each_step_has_its_own_action_in_every_state():
  actor = sequence()
  means = actor.trainable_variables[0].numpy()
  mean, log_std = actor(state(3, 1), 2)
  np.testing.assert_array_equal(mean, np.tile(means[2], [3, 1]))
  np.testing.assert_allclose(log_std, np.log(0.1))
  np.testing.assert_array_equal(actor(state(3, H, 1), tf.range(H))[0],
                                np.tile(means, [3, 1, 1]))
  np.testing.assert_array_equal(actor(state(2, 1), tf.constant([0, H]))[0],
                                means[[0, H - 1]])  # the driver's last question


def test_its_policy_gradient_is_the_returns_own():
  system, actor = Bioreactor(H, tf.float64), sequence()
  start = system.initial_state(1)
  gradient, of_std = open_loop_policy_gradient(
      TrueDynamics(system), system.reward, actor, start, tf.zeros([1, H, 1], tf.float64)).gradients
  mean = actor.trainable_variables[0]
  with tf.GradientTape() as tape:
    state, total = start, 0
    for t in range(H):
      action = tf.tanh(mean[None, t])
      total += system.reward(state, action, t)
      state = system.step(state, action, t)
  expected = tape.gradient(total, mean)
  assert np.linalg.norm(expected) > 1e-3
  np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-15)
  np.testing.assert_array_equal(of_std, 0)  # no noise, no effect


def test_a_spread_below_zero_is_refused():
  with pytest.raises(UserError, match='initial_std'):
    ActionSequence(Normalizer(1, H), 1, 1, initial_std=-1)
