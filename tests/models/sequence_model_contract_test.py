"""What every world model promises, whatever its architecture (float64).

A new model is an entry of MODELS in tests/support/small_models.py.
"""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.models import recurrent
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from tests.support.small_models import MODELS, every_model

B, T, N, M = 2, 5, 2, 3
HORIZON = 8
SCALES = np.array([1.0, 100.0])


class Bidirectional(SequenceModel):
  """Sees the future: the positive control of the causality test."""

  def __init__(self):
    super().__init__(dtype='float64')
    rnn = tf.keras.layers.SimpleRNN(4, return_sequences=True, dtype='float64')
    self._rnn = tf.keras.layers.Bidirectional(rnn, dtype='float64')
    self._read_out = tf.keras.layers.Dense(N, dtype='float64')

  def call(self, initial_state, actions, training=False):
    return initial_state[:, None] + self._read_out(self._rnn(actions))


def build(make, width=4, seed=0):
  """A model with random weights, biases included, and a normaliser that has seen states."""
  tf.keras.utils.set_random_seed(seed)
  generator = np.random.default_rng(seed)
  normalizer = Normalizer(N, HORIZON, dtype=tf.float64)
  normalizer.update(tf.constant(SCALES * generator.normal(1, 1, (50, N))))
  model = make(normalizer, N, M, width, 2)
  for variable in model.trainable_variables:
    variable.assign_add(0.2 * generator.normal(size=variable.shape))
  return model


def inputs(steps=T, batch=B, seed=1):
  generator = np.random.default_rng(seed)
  return (tf.constant(SCALES * generator.normal(size=(batch, N))),
          tf.constant(generator.uniform(-1, 1, (batch, steps, M))))


def unroll(model, initial_state, actions):
  carry, states = model.start(initial_state, actions.shape[1]), []
  for t in range(actions.shape[1]):
    state, carry = model.step(carry, actions[:, t], t)
    states.append(state)
  return tf.stack(states, 1)


def jacobian(model, initial_state, actions):
  """Largest |d s_{t+1} / d a_k| over the batch and the components, [T, T]."""
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(actions)
    outputs = [tf.unstack(tf.reduce_sum(state, 0))
               for state in tf.unstack(model(initial_state, actions), axis=1)]
  return np.array([
      np.max([np.abs(tape.gradient(output, actions)).max((0, 2)) for output in state], 0)
      for state in outputs])


def assert_causal(model):
  sizes = jacobian(model, *inputs())
  assert np.all(np.triu(sizes, 1) == 0), 'a future action reaches a past state'
  assert np.all(np.diag(sizes) > 0), 'an action does not reach the next state'
  assert sizes[-1, 0] > 0, 'the first action does not reach the last state'


# How far `test_overfits_eight_sequences` gets with a model that is less than universal.
FITS = {'SelfAttention': 3}  # its values are linear in the tokens


@every_model
def test_call_equals_unrolled_step_at_every_length(make):
  model = build(make)
  for steps in (1, 7, 2):  # lengths differ between calls of one model
    initial_state, actions = inputs(steps)
    predicted = model(initial_state, actions)
    assert predicted.shape == (B, steps, N)
    assert predicted.dtype == tf.float64
    np.testing.assert_allclose(
        predicted, unroll(model, initial_state, actions), rtol=1e-10, atol=1e-10)


@every_model
def test_unrolling_block_by_block_equals_call(make, monkeypatch):
  model = build(make)
  monkeypatch.setattr(model, 'cache_block', lambda horizon: 3)
  initial_state, actions = inputs(7)
  predicted = model.unroll(initial_state, 7, lambda state, t: actions[:, t])
  np.testing.assert_allclose(
      predicted, model(initial_state, actions), rtol=1e-10, atol=1e-10)


@every_model
def test_calling_with_residuals_equals_calling(make, monkeypatch):
  monkeypatch.setattr(recurrent, '_CHUNK', 3)
  model = build(make)
  monkeypatch.setattr(model, 'cache_block', lambda horizon: 4)
  initial_state, actions = inputs(7)
  unrolled, residuals = model.unroll_with_residuals(
      initial_state, 7, lambda state, t: actions[:, t])
  assert [part.shape for part in residuals] == [(7, B, size) for size in model.residual_sizes]
  variables = [initial_state, actions, *model.trainable_variables]
  weights = np.random.default_rng(2).normal(size=(B, 7, N)) / SCALES
  values, gradients = [], []
  for call in (model, lambda *inputs: model.call_with_residuals(*inputs, residuals)):
    with tf.GradientTape() as tape:
      tape.watch([initial_state, actions])
      values.append(call(initial_state, actions))
    gradients.append(tape.gradient(values[-1], variables, output_gradients=weights))
  np.testing.assert_allclose(unrolled, values[0], rtol=1e-10, atol=1e-10)
  np.testing.assert_allclose(values[1], values[0], rtol=1e-10, atol=1e-10)
  for actual, expected in zip(gradients[1], gradients[0], strict=True):
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-10)


@every_model
def test_teacher_forcing_on_its_own_predictions_equals_call(make):
  model = build(make)
  initial_state, actions = inputs()
  predicted = model(initial_state, actions)
  states = tf.concat([initial_state[:, None], predicted], 1)
  np.testing.assert_allclose(
      model.predict_teacher_forced(states, actions), predicted, rtol=1e-10, atol=1e-10)


@every_model
def test_no_future_action_reaches_a_past_state(make):
  assert_causal(build(make))


def test_a_model_that_sees_the_future_fails_the_causality_check():
  tf.keras.utils.set_random_seed(0)
  with pytest.raises(AssertionError, match='a future action'):
    assert_causal(Bidirectional())


@every_model
def test_xla_equals_eager(make):
  model = build(make)

  def predict_and_differentiate(initial_state, actions):
    with tf.GradientTape() as tape:
      tape.watch(actions)
      predicted = model(initial_state, actions)
    return predicted, tape.gradient(predicted, actions), unroll(model, initial_state, actions)

  eager = predict_and_differentiate(*inputs())
  compiled = tf.function(predict_and_differentiate, jit_compile=True)(*inputs())
  for actual, expected in zip(compiled, eager, strict=True):
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@every_model
def test_gradients_equal_finite_differences(make):
  model = build(make)
  initial_state, actions = inputs()
  actions = tf.Variable(actions)
  weights = np.random.default_rng(2).normal(size=(B, T, N)) / SCALES
  variables = [actions, *model.trainable_variables]

  @tf.function
  def objective():
    return tf.reduce_sum(weights * model(initial_state, actions))

  with tf.GradientTape() as tape:
    value = objective()
  gradients = tape.gradient(value, variables)

  def difference(variable, direction, step=1e-5):
    values = []
    for move in (step, -2 * step):
      variable.assign_add(move * direction)
      values.append(objective())
    variable.assign_add(step * direction)
    return (values[0] - values[1]) / (2 * step)

  for index in np.ndindex(*actions.shape):
    direction = np.zeros(actions.shape)
    direction[index] = 1
    np.testing.assert_allclose(
        gradients[0][index], difference(actions, direction), rtol=1e-6, atol=1e-8)
  for variable, gradient in zip(variables[1:], gradients[1:], strict=True):
    direction = np.random.default_rng(3).normal(size=variable.shape)
    np.testing.assert_allclose(
        np.sum(gradient * direction), difference(variable, direction),
        rtol=1e-6, atol=1e-8, err_msg=variable.name)


@every_model
def test_saved_weights_give_the_same_predictions(make, tmp_path):
  model, fresh = build(make, seed=0), build(make, seed=9)
  assert not np.allclose(model(*inputs()), fresh(*inputs()))
  model.save_weights(str(tmp_path / 'weights'))
  fresh.load_weights(str(tmp_path / 'weights')).assert_consumed()
  np.testing.assert_array_equal(fresh(*inputs()), model(*inputs()))


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=() if name in ('LSTM', 'Transformer', 'Markov') else pytest.mark.slow)
    for name in MODELS])
def test_overfits_eight_sequences(name):
  """By the loss that training has: the states of a system that has no pattern to learn."""
  model = build(MODELS[name], width=24)
  _, actions = inputs(batch=8)
  states = np.random.default_rng(4).normal(1, 1, (8, T + 1, N))  # in units of SCALES
  optimizer = tf.keras.optimizers.Adam(3e-3, jit_compile=False)
  optimizer.build(model.trainable_variables)

  @tf.function(jit_compile=True)
  def train():
    with tf.GradientTape() as tape:
      predicted = model.predict_teacher_forced(tf.constant(SCALES * states), actions)
      loss = tf.reduce_mean((predicted / SCALES - states[:, 1:]) ** 2)
    variables = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return loss

  losses = [float(train()) for _ in range(1000)]
  assert losses[-1] < losses[0] / FITS.get(name, 100), (losses[0], losses[-1])
