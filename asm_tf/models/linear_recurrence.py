"""The diagonal linear recurrence x_t = lambda x_{t-1} + v_t, parallel in time.

lambda and x are complex, held as a pair (real, imaginary) of real tensors, which XLA
vectorises better than complex ones. The steps compose associatively,
(l2, v2) after (l1, v1) = (l2 l1, l2 v1 + v2), so that a scan needs log2(T) passes;
the gradient is the same recurrence backwards in time.
"""

import tensorflow as tf
import tensorflow_probability as tfp


@tf.custom_gradient
def linear_recurrence(rate_re, rate_im, v_re, v_im, x0_re, x0_im):
  """States of the recurrence over a sequence.

  Args:
    rate_re: [N], lambda's real part.
    rate_im: [N], its imaginary part.
    v_re: [T, B, N], the inputs.
    v_im: [T, B, N].
    x0_re: [B, N], the state before the first step.
    x0_im: [B, N].

  Returns:
    x_1 .. x_T, real and imaginary part, each [T, B, N].
  """
  x_re, x_im = _states(rate_re, rate_im, v_re, v_im, x0_re, x0_im)

  def gradient(dx_re, dx_im):
    # g_t = dx_t + conj(lambda) g_{t+1}: the recurrence on the reversed sequence.
    zeros = tf.zeros_like(x0_re)
    g_re, g_im = (part[::-1] for part in _states(
        rate_re, -rate_im, dx_re[::-1], dx_im[::-1], zeros, zeros))
    past_re = tf.concat([x0_re[None], x_re[:-1]], 0)
    past_im = tf.concat([x0_im[None], x_im[:-1]], 0)
    drate_re, drate_im = multiply(past_re, -past_im, g_re, g_im)
    dx0_re, dx0_im = multiply(rate_re, -rate_im, g_re[0], g_im[0])
    return (tf.reduce_sum(drate_re, [0, 1]), tf.reduce_sum(drate_im, [0, 1]), g_re, g_im,
            dx0_re, dx0_im)

  return (x_re, x_im), gradient


def _states(rate_re, rate_im, v_re, v_im, x0_re, x0_im):
  first_re, first_im = multiply(rate_re, rate_im, x0_re, x0_im)
  return _scan(rate_re, rate_im, _add_to_first(v_re, first_re), _add_to_first(v_im, first_im))


def multiply(a_re, a_im, b_re, b_im):
  """The product of two complex numbers as (real, imaginary)."""
  return a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re


def _add_to_first(v, first):
  return tf.concat([v[:1] + first, v[1:]], 0)


def _scan(rate_re, rate_im, v_re, v_im):
  def compose(earlier, later):
    rate = multiply(*later[:2], *earlier[:2])
    re, im = multiply(*later[:2], *earlier[2:])
    return (*rate, re + later[2], im + later[3])

  steps = v_re.shape[0]
  rates = [tf.tile(part[None, None], [steps, 1, 1]) for part in (rate_re, rate_im)]  # [T, 1, N]
  return tfp.math.scan_associative(compose, (*rates, v_re, v_im))[2:]
