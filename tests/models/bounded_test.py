"""Imagined states stay in the observed range and its margin; inside, nothing changes."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.agents.world import World
from asm_tf.errors import UserError
from asm_tf.models.bounded import BoundedModel
from asm_tf.models.normalizer import Normalizer
from tests.support.small_models import MODELS, Linear, M, N, every_model, inputs, randomise

F64 = tf.float64


def normalizer_of(states, margin=0.5):
  normalizer = Normalizer(states.shape[-1], 5, margin=margin, dtype=F64)
  normalizer.update(tf.constant(states))
  return normalizer


def test_is_the_identity_in_the_range_and_saturates_beyond_it():
  normalizer = normalizer_of(np.array([[0.0, -3.0], [2.0, 5.0]]))
  inside = tf.constant([[0.0, -3.0], [1.3, 0.1], [2.0, 5.0]], F64)
  with tf.GradientTape() as tape:
    tape.watch(inside)
    bounded = normalizer.bound(inside)
  np.testing.assert_array_equal(bounded, inside)
  np.testing.assert_array_equal(tape.gradient(bounded, inside), np.ones([3, 2]))
  beyond = tf.constant([[-1e9, 1e9], [2.5, -4.0], [np.inf, -np.inf]], F64)
  np.testing.assert_allclose(normalizer.bound(beyond), [
      [-1.0, 9.0], [2 + np.tanh(0.5), -3 - 4 * np.tanh(0.25)], [3.0, -7.0]])


def test_has_a_continuous_gradient_at_the_edge():
  normalizer = normalizer_of(np.array([[0.0], [2.0]]))
  states = tf.constant([[2 - 1e-6], [2 + 1e-6]], F64)
  with tf.GradientTape() as tape:
    tape.watch(states)
    bounded = normalizer.bound(states)
  np.testing.assert_allclose(tape.gradient(bounded, states), np.ones([2, 1]), rtol=1e-9)


def test_the_range_grows_and_leaves_out_what_was_not_visited_or_not_finite():
  normalizer = normalizer_of(np.array([[0.0], [1.0]]))
  normalizer.update(tf.constant([[[-2.0], [np.nan], [3.0], [50.0]]], F64),
                    tf.constant([[True, True, True, False]]))
  normalizer.update(tf.constant([[[0.5], [0.6]]], F64))  # within it
  np.testing.assert_allclose(
      normalizer.bound(tf.constant([[-1e9], [1e9]], F64)), [[-4.5], [5.5]])


def test_a_component_that_never_varied_still_has_a_margin():
  normalizer = normalizer_of(np.array([[1.0], [1.0]]))
  with tf.GradientTape() as tape:
    states = tf.constant([[1.1]], F64)
    tape.watch(states)
    bounded = normalizer.bound(states)
  assert tape.gradient(bounded, states).numpy() > 0.5


@every_model
def test_within_the_range_a_bounded_model_is_the_model(make):
  tf.keras.utils.set_random_seed(0)
  generator = np.random.default_rng(0)
  normalizer = normalizer_of(generator.normal(0, 1, (1000, N)), margin=1e6)
  model = make(normalizer, N, M, 3, 1)
  bounded = BoundedModel(model, normalizer)
  initial_state, actions, _ = inputs(generator)
  np.testing.assert_allclose(
      bounded(initial_state, actions), model(initial_state, actions), rtol=1e-6, atol=1e-6)


@every_model
def test_both_passes_of_a_bounded_model_agree_out_of_range(make):
  tf.keras.utils.set_random_seed(0)
  generator = np.random.default_rng(0)
  normalizer = normalizer_of(generator.normal(0, 1e-3, (10, N)))
  model = make(normalizer, N, M, 3, 1)
  randomise(model, generator, 2.0)
  bounded = BoundedModel(model, normalizer)
  initial_state, actions, _ = inputs(generator)

  def act(state, t):
    return actions[:, t] + 0 * state

  states, residuals = bounded.unroll_with_residuals(initial_state, actions.shape[1], act)
  assert np.max(np.abs(states - model(initial_state, actions))) > 1e-5
  np.testing.assert_allclose(bounded(initial_state, actions), states, rtol=1e-6, atol=1e-9)
  np.testing.assert_allclose(
      bounded.call_with_residuals(initial_state, actions, residuals), states, rtol=1e-6, atol=1e-9)


def test_an_exploding_one_step_model_stays_finite_and_so_does_its_gradient():
  normalizer = normalizer_of(np.random.default_rng(0).normal(size=(50, 3)))
  markov = MODELS['Markov'](normalizer, 3, 2, 3, 1)
  for variable in markov.trainable_variables:
    variable.assign(100 * tf.random.normal(variable.shape, dtype=F64, seed=0))
  actions = tf.random.uniform([4, 400, 2], -1, 1, F64, seed=0)
  bounded = BoundedModel(markov, normalizer)
  with tf.GradientTape() as tape:
    tape.watch(actions)
    predicted = bounded(tf.zeros([4, 3], F64), actions)
  assert np.all(np.isfinite(predicted))
  assert np.max(np.abs(predicted)) < 20
  assert np.all(np.isfinite(tape.gradient(predicted, actions)))
  assert not np.max(np.abs(markov.predict_teacher_forced(
      tf.random.normal([4, 11, 3], dtype=F64, seed=0), actions[:, :10]))) < 20  # training is free


@pytest.mark.parametrize('name', ['Markov', 'HistoryLSTM'])
def test_what_is_fed_back_is_bounded(name):
  generator = np.random.default_rng(0)
  normalizer = normalizer_of(generator.normal(0, 1e-3, (10, N)))
  model = MODELS[name](normalizer, N, M, 3, 1)
  randomise(model, generator, 2.0)
  initial_state, actions, _ = inputs(generator)
  state, carry = model.step(model.start(initial_state, 1), actions[:, 0], 0)
  fed_back = tf.nest.flatten(carry)[0]
  assert np.max(np.abs(fed_back - state)) > 1e-5
  np.testing.assert_allclose(fed_back, normalizer.bound(state), rtol=1e-9)


def test_only_learned_models_are_bounded():
  normalizer = normalizer_of(np.array([[0.0, 0, 0], [1, 1, 1]]))
  exact = Linear(np.eye(3), np.zeros((3, 2)))
  assert World(exact, None, normalizer).imagination is exact
  learned = MODELS['LSTM'](normalizer, 3, 2, 3, 1)
  assert isinstance(World(learned, None, normalizer).imagination, BoundedModel)
  free = Normalizer(3, 5, dtype=F64)
  assert World(learned, None, free).imagination is learned


@pytest.mark.parametrize('margin', [0.0, -1.0, float('nan')])
def test_a_bad_margin_is_one_line(margin):
  with pytest.raises(UserError, match='Normalizer.margin is .*: give a positive number'):
    Normalizer(3, 5, margin=margin)


def test_a_bound_needs_the_observed_range():
  with pytest.raises(UserError, match='set Normalizer.margin = None'):
    Normalizer(3, 5, enabled=False, margin=1.0)
