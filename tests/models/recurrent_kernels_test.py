"""rnn_scan and lstm_scan against plain loops, Keras' own layer and finite differences."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.models.recurrent_kernels import lstm_scan, rnn_scan
from tests.support.second_derivatives import require_second_derivative

B, U = 3, 4


def rnn_loop(z, kernel, x):
  """The paper's Equation 2, differentiated by the tape."""
  xs = []
  for z_t in tf.unstack(z):
    x = tf.tanh(x @ kernel) + z_t
    xs.append(x)
  return tf.stack(xs)


def lstm_loop(z, kernel, h, c):
  """The textbook recurrence, differentiated by the tape."""
  hs = []
  for z_t in tf.unstack(z):
    i, f, g, o = tf.split(z_t + h @ kernel, 4, -1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    h = tf.sigmoid(o) * tf.tanh(c)
    hs.append(h)
  return tf.stack([*hs, c])


def lstm(z, kernel, h0, c0):
  """h_1 .. h_T, then c_T."""
  hs, c = lstm_scan(z, kernel, h0, c0)
  return tf.concat([hs, c[None]], 0)


Kernel = collections.namedtuple('Kernel', 'scan loop gates names')
RNN = Kernel(rnn_scan, rnn_loop, 1, ('z', 'kernel', 'x0'))
LSTM = Kernel(lstm, lstm_loop, 4, ('z', 'kernel', 'h0', 'c0'))

both_kernels = pytest.mark.parametrize('recurrence', [RNN, LSTM], ids=['rnn', 'lstm'])


def inputs(recurrence, steps, seed=0):
  """z, the recurrent kernel and the first carry."""
  generator = np.random.default_rng(seed)
  width = recurrence.gates * U
  carries = len(recurrence.names) - 2
  shapes = ((steps, B, width), (U, width)) + carries * ((B, U),)
  return [tf.constant(generator.normal(size=shape)) for shape in shapes]


def value_and_gradients(scan, arguments, weights):
  with tf.GradientTape() as tape:
    tape.watch(arguments)
    hs = scan(*arguments)
    objective = tf.reduce_sum(hs * weights)
  return hs, tape.gradient(objective, arguments)


@both_kernels
@pytest.mark.parametrize(('steps', 'compiled'), [
    (1, False), (2, False), (17, False), (500, False), (17, True)])
def test_value_and_gradients_equal_a_plain_loop(recurrence, steps, compiled):
  arguments = inputs(recurrence, steps)
  rows = steps + (recurrence is LSTM)
  weights = tf.constant(np.random.default_rng(1).normal(size=(rows, B, U)))

  def route(*arguments):
    return value_and_gradients(recurrence.scan, arguments, weights)

  route = tf.function(route, jit_compile=True) if compiled else route
  hs, gradients = route(*arguments)
  expected, expected_gradients = value_and_gradients(recurrence.loop, arguments, weights)
  assert hs.shape == (rows, B, U)
  assert hs.dtype == tf.float64
  np.testing.assert_allclose(hs, expected, rtol=1e-12, atol=1e-13)
  for name, gradient, wanted in zip(recurrence.names, gradients, expected_gradients, strict=True):
    np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-11, err_msg=name)


def test_lstm_scan_equals_the_keras_layer():
  steps, width = 17, 5
  generator = np.random.default_rng(2)
  x = generator.normal(size=(B, steps, width))
  input_kernel, bias = generator.normal(size=(width, 4 * U)), generator.normal(size=4 * U)
  _, kernel, h0, c0 = inputs(LSTM, steps)
  layer = tf.keras.layers.LSTM(U, return_sequences=True, dtype='float64')
  layer.build(x.shape)
  layer.set_weights([input_kernel, kernel, bias])
  z = tf.constant(np.transpose(x @ input_kernel + bias, [1, 0, 2]))
  expected = layer(tf.constant(x), initial_state=[h0, c0])
  np.testing.assert_allclose(
      tf.transpose(lstm_scan(z, kernel, h0, c0)[0], [1, 0, 2]), expected, atol=1e-12)


@pytest.mark.parametrize(('recurrence', 'name', 'in_graph'), [
    *((recurrence, name, False) for recurrence in (RNN, LSTM) for name in recurrence.names),
    (RNN, 'kernel', True), (LSTM, 'kernel', True)])
def test_second_derivatives_equal_differences_of_the_gradient(recurrence, name, in_graph):
  arguments, which = inputs(recurrence, 3), recurrence.names.index(name)
  weights, direction = (tf.constant(np.random.default_rng(seed).normal(size=shape)) for seed, shape
                        in ((1, (3 + (recurrence is LSTM), B, U)), (2, arguments[which].shape)))

  def slope(x):
    """Along `direction`, of an objective that is not linear in h."""
    with tf.GradientTape() as tape:
      tape.watch(x)
      hs = recurrence.scan(*arguments[:which], x, *arguments[which + 1:])
      objective = tf.reduce_sum(weights * hs**2)
    return tf.reduce_sum(tape.gradient(objective, x) * direction)

  require_second_derivative(slope, arguments[which], direction, 1e-5, in_graph)
