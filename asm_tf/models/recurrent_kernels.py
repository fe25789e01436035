"""The recurrences of the RNN and the LSTM, with explicit backward passes.

The RNN is the paper's Equation 2, x_t = tanh(x_{t-1} U) + z_t. The LSTM is

    i, f, o = sigma(.), g = tanh(.) of split(z_t + h_{t-1} U)
    c_t = f c_{t-1} + i g,   h_t = o tanh(c_t)

z holds the input projections of the whole sequence, computed outside in one matrix
product. sigma(x) = (1 + tanh(x/2)) / 2, so that one tanh over the contiguous gates serves
all four, in half the time that XLA takes for four activations. The forward loop keeps the
activations as residuals. The backward pass computes for all t at once what it can, before
its loop, which carries only the recurrence; the gradient of U is one matrix product after
the loop. Everything here is time-major, [T, B, ...].
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from asm_tf.models.products import product
from asm_tf.models.unrolling import has_accelerator


def rnn_scan(z: tf.Tensor, kernel: tf.Tensor, x0: tf.Tensor,
             residuals: Sequence[tf.Tensor] = ()) -> tf.Tensor:
  """States of Equation 2 over a sequence.

  Args:
    z: [T, B, u], input projections with bias.
    kernel: [u, u], the recurrent matrix U.
    x0: [B, u], the state before the first step.
    residuals: x_t and tanh(x_{t-1} U), [T, B, u] each, where the steps were taken before: only
      the gradient is then computed.

  Returns:
    [T, B, u], x_1 .. x_T.
  """
  @tf.custom_gradient
  def scan(z, kernel, x0):
    xs, tanhs = residuals or _rnn_forward(z, kernel, x0)

    def gradient(dxs):
      slopes = 1 - tanhs**2
      dz, dx0 = _rnn_backward(dxs, kernel, slopes)
      previous = tf.concat([x0[None], xs[:-1]], 0)
      return dz, _weight_gradient(previous, dz * slopes), dx0

    return xs, gradient

  return scan(z, kernel, x0)


def _rnn_forward(z, kernel, x0):
  steps = z.shape[0]

  def body(t, x, tanhs):
    tanh = tf.tanh(product(x, kernel))
    return t + 1, tanh + z[t], tanhs.write(t, tanh)

  *_, tanhs = tf.while_loop(
      lambda t, *_: t < steps, body, (0, x0, _array(steps, z.dtype, x0.shape)),
      maximum_iterations=steps)
  tanhs = tanhs.stack()
  return tanhs + z, tanhs


def _rnn_backward(dxs, kernel, slopes):
  """Gradients of the input projections [T, B, u] and of x0."""
  steps = dxs.shape[0]
  kernel_transposed, rows = tf.transpose(kernel), _reader(dxs, slopes)

  def body(s, dx, totals):
    t = steps - 1 - s
    dx_t, slope = rows(t)
    dx += dx_t
    return s + 1, product(dx * slope, kernel_transposed), totals.write(t, dx)

  *_, dx0, dz = tf.while_loop(
      lambda s, *_: s < steps, body,
      (0, tf.zeros_like(dxs[0]), _array(steps, dxs.dtype, dxs.shape[1:])),
      maximum_iterations=steps)
  return dz.stack(), dx0


def lstm_cell(pre_activations: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """One step of the cell.

  Args:
    pre_activations: [B, 4u], in the order i, f, g, o.
    c: [B, u], the cell state before the step.

  Returns:
    tanh of the (halved, for i, f, o) pre-activations [B, 4u], h and c [B, u].
  """
  units = c.shape[-1]
  halves = np.repeat([0.5, 0.5, 1.0, 0.5], units)
  gates = tf.tanh(pre_activations * tf.constant(halves, c.dtype))
  i, f, g, o = tf.split(gates, 4, -1)
  c = 0.5 * ((f + 1) * c + (i + 1) * g)
  return gates, 0.5 * (o + 1) * tf.tanh(c), c


def lstm_scan(z: tf.Tensor, kernel: tf.Tensor, h0: tf.Tensor, c0: tf.Tensor,
              residuals: Sequence[tf.Tensor] = ()) -> tuple[tf.Tensor, tf.Tensor]:
  """Hidden states of an LSTM over a sequence.

  Args:
    z: [T, B, 4u], input projections with bias, gates in the order i, f, g, o.
    kernel: [u, 4u], the recurrent matrix U.
    h0: [B, u], the hidden state before the first step.
    c0: [B, u], the cell state before the first step.
    residuals: c_t [T, B, u] and the tanhs of `lstm_cell` [T, B, 4u], where the steps were taken
      before: only the gradient is then computed.

  Returns:
    [T, B, u], h_1 .. h_T, and [B, u], c_T.
  """
  units = c0.shape[-1]

  @tf.custom_gradient
  def scan(z, kernel, h0, c0):
    cs, gates = residuals or _lstm_forward(z, kernel, h0, c0)
    tanh_c = tf.tanh(cs)
    hs = 0.5 * (gates[..., -units:] + 1) * tanh_c

    def gradient(dhs, dc_last):
      previous_h = tf.concat([h0[None], hs[:-1]], 0)
      previous_c = tf.concat([c0[None], cs[:-1]], 0)
      dz, dh0, dc0 = _lstm_backward(dhs, dc_last, kernel, gates, previous_c, tanh_c)
      dkernel = _weight_gradient(previous_h, dz)
      return dz, dkernel, dh0, dc0

    return (hs, cs[-1]), gradient

  return scan(z, kernel, h0, c0)


def _lstm_forward(z, kernel, h0, c0):
  steps = z.shape[0]

  def body(t, h, c, cs, gates):
    gate, h, c = lstm_cell(gates.read(t) + product(h, kernel), c)
    return t + 1, h, c, cs.write(t, c), gates.write(t, gate)

  *_, cs, gates = tf.while_loop(
      lambda t, *_: t < steps, body,
      (0, h0, c0, _array(steps, z.dtype, c0.shape), _overwritten(z)), maximum_iterations=steps)
  return cs.stack(), gates.stack()


def _lstm_backward(dhs, dc_last, kernel, gates, previous_c, tanh_c):
  """Gradients of the pre-activations [T, B, 4u] and of h0 and c0."""
  steps = dhs.shape[0]
  i, f, g, o = tf.split(gates, 4, -1)
  # dz_t = slopes_t [dc_t, dc_t, dc_t, dh_t]
  slopes = tf.concat([
      0.25 * g * (1 - i**2), 0.25 * previous_c * (1 - f**2),
      0.5 * (i + 1) * (1 - g**2), 0.25 * tanh_c * (1 - o**2)], -1)
  dh_dc = 0.5 * (o + 1) * (1 - tanh_c**2)
  forget = 0.5 * (f + 1)
  forget_next = tf.concat([forget[1:], tf.ones_like(forget[:1])], 0)
  kernel_transposed, rows = tf.transpose(kernel), _reader(dhs, forget_next, dh_dc)

  def body(s, dh, dc, dzs):
    t = steps - 1 - s
    dh_t, forget_t, dh_dc_t = rows(t)
    dh += dh_t
    dc = dc * forget_t + dh * dh_dc_t
    dz = dzs.read(t) * tf.concat([dc, dc, dc, dh], -1)
    return s + 1, product(dz, kernel_transposed), dc, dzs.write(t, dz)

  _, dh0, dc, dzs = tf.while_loop(
      lambda s, *_: s < steps, body,
      (0, tf.zeros_like(dc_last), dc_last, _overwritten(slopes)), maximum_iterations=steps)
  return dzs.stack(), dh0, dc * forget[0]


def _weight_gradient(inputs, dz):
  """sum_tb inputs_tb dz_tb, [u, v], in one product."""
  rows, dz = (tf.reshape(x, [-1, x.shape[-1]]) for x in (inputs, dz))
  return product(rows, dz, transpose_a=True)


def _reader(*arrays):
  """The function t -> x[t] of each array x [T, B, u].

  An accelerator is given one array: a TPU's XLA lays narrow ones out with time innermost, and a
  loop then reads the whole of each of them at every step.
  """
  if not has_accelerator():
    return lambda t: [x[t] for x in arrays]
  together = tf.concat(arrays, -1)
  return lambda t: tf.split(together[t], len(arrays), -1)


def _array(steps, dtype, shape):
  return tf.TensorArray(dtype, steps, element_shape=shape)


def _overwritten(x):
  """The array x [T, ...], whose memory a loop writes into once it has read from there."""
  return tf.TensorArray(x.dtype, x.shape[0], element_shape=x.shape[1:],
                        clear_after_read=False).unstack(x)
