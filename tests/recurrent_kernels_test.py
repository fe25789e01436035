"""lstm_scan against a plain loop, Keras' own layer and finite differences."""

import numpy as np
import pytest

from asm_tf.models.recurrent_kernels import lstm_scan

import tensorflow as tf  # after asm_tf, which chooses Keras 2

B, U = 3, 4
NAMES = ('z', 'kernel', 'h0', 'c0')


def inputs(steps, seed=0):
  generator = np.random.default_rng(seed)
  shapes = (steps, B, 4 * U), (U, 4 * U), (B, U), (B, U)
  return [tf.constant(generator.normal(size=shape)) for shape in shapes]


def plain_loop(z, kernel, h, c):
  """The textbook recurrence, differentiated by the tape."""
  hs = []
  for z_t in tf.unstack(z):
    i, f, g, o = tf.split(z_t + h @ kernel, 4, -1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    h = tf.sigmoid(o) * tf.tanh(c)
    hs.append(h)
  return tf.stack(hs)


def value_and_gradients(scan, arguments, weights):
  with tf.GradientTape() as tape:
    tape.watch(arguments)
    hs = scan(*arguments)
    objective = tf.reduce_sum(hs * weights)
  return hs, tape.gradient(objective, arguments)


@pytest.mark.parametrize('steps, compiled', [
    (1, False), (2, False), (17, False), (100, False), (17, True)])
def test_value_and_gradients_equal_a_plain_loop(steps, compiled):
  arguments = inputs(steps)
  weights = tf.constant(np.random.default_rng(1).normal(size=(steps, B, U)))

  def route(*arguments):
    return value_and_gradients(lstm_scan, arguments, weights)

  route = tf.function(route, jit_compile=True) if compiled else route
  hs, gradients = route(*arguments)
  expected, expected_gradients = value_and_gradients(plain_loop, arguments, weights)
  assert hs.shape == (steps, B, U) and hs.dtype == tf.float64
  np.testing.assert_allclose(hs, expected, rtol=1e-12, atol=1e-13)
  for name, gradient, wanted in zip(NAMES, gradients, expected_gradients):
    np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-11, err_msg=name)


def test_forward_equals_the_keras_layer():
  steps, width = 17, 5
  generator = np.random.default_rng(2)
  x = generator.normal(size=(B, steps, width))
  input_kernel, bias = generator.normal(size=(width, 4 * U)), generator.normal(size=4 * U)
  _, kernel, h0, c0 = inputs(steps)
  layer = tf.keras.layers.LSTM(U, return_sequences=True, dtype='float64')
  layer.build(x.shape)
  layer.set_weights([input_kernel, kernel, bias])
  z = tf.constant(np.transpose(x @ input_kernel + bias, [1, 0, 2]))
  expected = layer(tf.constant(x), initial_state=[h0, c0])
  np.testing.assert_allclose(
      tf.transpose(lstm_scan(z, kernel, h0, c0), [1, 0, 2]), expected, atol=1e-12)


@pytest.mark.parametrize('name, in_graph', [
    ('z', False), ('kernel', False), ('h0', False), ('c0', False), ('kernel', True)])
def test_second_derivatives_equal_differences_of_the_gradient(name, in_graph):
  arguments, which = inputs(3), NAMES.index(name)
  weights, direction = (tf.constant(np.random.default_rng(seed).normal(size=shape)) for seed, shape
                        in ((1, (3, B, U)), (2, arguments[which].shape)))

  def slope(x):
    """Along `direction`, of an objective that is not linear in h."""
    with tf.GradientTape() as tape:
      tape.watch(x)
      hs = lstm_scan(*arguments[:which], x, *arguments[which + 1:])
      objective = tf.reduce_sum(weights * hs**2)
    return tf.reduce_sum(tape.gradient(objective, x) * direction)

  def curvature(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      value = slope(x)
    return tf.reduce_sum(tape.gradient(value, x) * direction)

  x, step = arguments[which], 1e-5
  differences = (slope(x + step * direction) - slope(x - step * direction)) / (2 * step)
  route = tf.function(curvature) if in_graph else curvature
  np.testing.assert_allclose(route(x), differences, rtol=1e-6)
