"""The diagonal linear recurrence x_t = lambda x_{t-1} + v_t.

lambda and x are complex, held as a pair (real, imaginary) of real tensors, which XLA
vectorises better than complex ones. On an accelerator it is parallel in time: the steps
compose associatively, (l2, v2) after (l1, v1) = (l2 l1, l2 v1 + v2), so that a scan needs
log2(T) passes. On a CPU a plain loop, which reads and writes every step once, takes two thirds
of the scan's time and a tenth of its time to compile. The gradient is the same recurrence
backwards in time.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from asm_tf.models.unrolling import has_accelerator


def linear_recurrence(rate_re: tf.Tensor, rate_im: tf.Tensor, v_re: tf.Tensor, v_im: tf.Tensor,
                      x0_re: tf.Tensor, x0_im: tf.Tensor,
                      parallel: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
  """States of the recurrence over a sequence.

  Args:
    rate_re: [N], lambda's real part.
    rate_im: [N], its imaginary part.
    v_re: [T, B, N], the inputs.
    v_im: [T, B, N].
    x0_re: [B, N], the state before the first step.
    x0_im: [B, N].
    parallel: True for the scan, False for the loop; None for the scan on a GPU or a TPU.

  Returns:
    x_1 .. x_T, real and imaginary part, each [T, B, N].
  """
  states = _scan if (has_accelerator() if parallel is None else parallel) else _loop

  @tf.custom_gradient
  def recurrence(rate_re, rate_im, v_re, v_im, x0_re, x0_im):
    x_re, x_im = states(rate_re, rate_im, v_re, v_im, x0_re, x0_im)

    def gradient(dx_re, dx_im):
      # g_t = dx_t + conj(lambda) g_{t+1}
      zeros = tf.zeros_like(x0_re)
      g_re, g_im = states(rate_re, -rate_im, dx_re, dx_im, zeros, zeros, backwards=True)
      past_re = tf.concat([x0_re[None], x_re[:-1]], 0)
      past_im = tf.concat([x0_im[None], x_im[:-1]], 0)
      drate_re, drate_im = multiply(past_re, -past_im, g_re, g_im)
      dx0_re, dx0_im = multiply(rate_re, -rate_im, g_re[0], g_im[0])
      return (tf.reduce_sum(drate_re, [0, 1]), tf.reduce_sum(drate_im, [0, 1]), g_re, g_im,
              dx0_re, dx0_im)

    return (x_re, x_im), gradient

  return recurrence(rate_re, rate_im, v_re, v_im, x0_re, x0_im)


def multiply(a_re: tf.Tensor, a_im: tf.Tensor, b_re: tf.Tensor,
             b_im: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """The product of two complex numbers as (real, imaginary)."""
  return a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re


def _loop(rate_re, rate_im, v_re, v_im, x_re, x_im, backwards=False):
  """The states step by step, from the first or, backwards, from the last."""
  steps = v_re.shape[0]

  def body(s, x_re, x_im, all_re, all_im):
    t = steps - 1 - s if backwards else s
    x_re, x_im = multiply(rate_re, rate_im, x_re, x_im)
    x_re, x_im = x_re + v_re[t], x_im + v_im[t]
    return s + 1, x_re, x_im, all_re.write(t, x_re), all_im.write(t, x_im)

  arrays = [tf.TensorArray(v_re.dtype, steps, element_shape=x_re.shape) for _ in range(2)]
  *_, all_re, all_im = tf.while_loop(
      lambda s, *_: s < steps, body, (0, x_re, x_im, *arrays), maximum_iterations=steps)
  return all_re.stack(), all_im.stack()


def _scan(rate_re, rate_im, v_re, v_im, x_re, x_im, backwards=False):
  """The states by an associative scan."""
  if backwards:
    states = _scan(rate_re, rate_im, v_re[::-1], v_im[::-1], x_re, x_im)
    return tuple(part[::-1] for part in states)

  def compose(earlier, later):
    rate = multiply(*later[:2], *earlier[:2])
    re, im = multiply(*later[:2], *earlier[2:])
    return (*rate, re + later[2], im + later[3])

  def add_to_first(v, first):
    return tf.concat([v[:1] + first, v[1:]], 0)

  first_re, first_im = multiply(rate_re, rate_im, x_re, x_im)
  rates = [tf.tile(part[None, None], [v_re.shape[0], 1, 1]) for part in (rate_re, rate_im)]
  return tfp.math.scan_associative(compose, (  # rates: [T, 1, N]
      *rates, add_to_first(v_re, first_re), add_to_first(v_im, first_im)))[2:]
