"""What every gradient that is written out must allow: a second derivative."""

import numpy as np
import tensorflow as tf


def require_second_derivative(slope, x, direction, step, in_graph):
  """Fails unless the derivative of a slope is what differences of it say.

  Args:
    slope: function x -> scalar, the derivative of an objective along `direction`.
    x: float64 tensor.
    direction: tensor of its shape.
    step: of the differences, in units of `direction`.
    in_graph: within a tf.function, else eagerly.
  """
  def curvature(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      value = slope(x)
    return tf.reduce_sum(tape.gradient(value, x) * direction)

  differences = (slope(x + step * direction) - slope(x - step * direction)) / (2 * step)
  route = tf.function(curvature) if in_graph else curvature
  np.testing.assert_allclose(route(x), differences, rtol=1e-6)
