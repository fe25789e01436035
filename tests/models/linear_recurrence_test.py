"""linear_recurrence, by loop and by scan, against complex numbers and finite differences."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.models import linear_recurrence as module
from tests.support.second_derivatives import require_second_derivative

B = 2
# lambda: fast and slow decay, a real negative one, the edge of the circle, and 0.
RATES = np.array([0.5, 0.9, -0.8, 1 - 1e-6, 0.9999, 0]) * np.exp(
    1j * np.array([0.3, 2.0, 0, 0.7, 0, 0]))
NAMES = ('rate_re', 'rate_im', 'v_re', 'v_im', 'x0_re', 'x0_im')


@pytest.fixture(params=[False, True], ids=['loop', 'scan'])
def linear_recurrence(request):
  return functools.partial(module.linear_recurrence, parallel=request.param)


def inputs(steps, seed=0):
  """The six arguments, float64."""
  generator = np.random.default_rng(seed)
  shapes = ((steps, B, len(RATES)),) * 2 + ((B, len(RATES)),) * 2
  return [tf.constant(value) for value in (
      RATES.real, RATES.imag, *(generator.normal(size=shape) for shape in shapes))]


def loop(rate_re, rate_im, v_re, v_im, x0_re, x0_im):
  """The recurrence in TensorFlow's complex numbers, differentiated by the tape."""
  rate, v, x = (tf.complex(*pair) for pair in (
      (rate_re, rate_im), (v_re, v_im), (x0_re, x0_im)))
  xs = []
  for v_t in tf.unstack(v):
    x = rate * x + v_t
    xs.append(x)
  xs = tf.stack(xs)
  return tf.math.real(xs), tf.math.imag(xs)


def objective(recurrence, arguments, weights):
  """A scalar that is not linear in the states, so that its gradient depends on them."""
  return sum(tf.reduce_sum(weight * tf.sin(part))
             for weight, part in zip(weights, recurrence(*arguments), strict=True))


def gradient(recurrence, arguments, weights):
  with tf.GradientTape() as tape:
    tape.watch(arguments)
    value = objective(recurrence, arguments, weights)
  return tape.gradient(value, arguments)


def random_like(tensors, seed):
  generator = np.random.default_rng(seed)
  return [tf.constant(generator.normal(size=tensor.shape)) for tensor in tensors]


@pytest.mark.parametrize('steps', [1, 2, 17, 500])
def test_states_equal_a_numpy_loop(steps, linear_recurrence):
  arguments = inputs(steps)
  rate, v, x = (re.numpy() + 1j * im.numpy()
                for re, im in zip(arguments[::2], arguments[1::2], strict=True))
  re, im = (part.numpy() for part in linear_recurrence(*arguments))
  assert re.shape == im.shape == (steps, B, len(RATES))
  assert re.dtype == im.dtype == np.float64
  for t in range(steps):
    x = rate * x + v[t]
    np.testing.assert_allclose(re[t] + 1j * im[t], x, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(('steps', 'compiled'), [
    (1, False), (2, False), (17, False), (500, False), (17, True)])
def test_gradients_equal_those_of_a_plain_loop(steps, compiled, linear_recurrence):
  arguments = inputs(steps)
  weights = random_like(arguments[2:4], seed=1)

  def route(*arguments):
    return gradient(linear_recurrence, arguments, weights)

  route = tf.function(route, jit_compile=True) if compiled else route
  expected = gradient(loop, arguments, weights)
  for name, actual, wanted in zip(NAMES, route(*arguments), expected, strict=True):
    scale = np.max(np.abs(wanted))
    np.testing.assert_allclose(actual, wanted, rtol=1e-9, atol=1e-11 * scale, err_msg=name)


def along(arguments, which, move):
  """The arguments with one of them moved."""
  return [*arguments[:which], arguments[which] + move, *arguments[which + 1:]]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('steps', [1, 2, 17])
def test_gradients_equal_finite_differences(name, steps, linear_recurrence):
  arguments, which, step = inputs(steps), NAMES.index(name), 1e-6
  weights = random_like(arguments[2:4], seed=1)
  direction, = random_like([arguments[which]], seed=2)
  above, below = (objective(linear_recurrence, along(arguments, which, move * direction), weights)
                  for move in (step, -step))
  slope = tf.reduce_sum(gradient(linear_recurrence, arguments, weights)[which] * direction)
  np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize(('name', 'in_graph'), [
    *((name, False) for name in NAMES), ('rate_re', True)])
def test_second_derivatives_equal_differences_of_the_gradient(name, in_graph, linear_recurrence):
  arguments, which = inputs(5), NAMES.index(name)
  weights = random_like(arguments[2:4], seed=1)
  direction, = random_like([arguments[which]], seed=2)

  def slope(x):
    """Of the objective along `direction`."""
    moved = [*arguments[:which], x, *arguments[which + 1:]]
    return tf.reduce_sum(gradient(linear_recurrence, moved, weights)[which] * direction)

  require_second_derivative(slope, arguments[which], direction, 1e-6, in_graph)
