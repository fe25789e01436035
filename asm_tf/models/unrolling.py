"""Unrolling a world model with a policy in the loop, and what makes that fast.

`SequenceModel` is what a new world model implements; this is the class beneath it. Every
method has a default that is correct for any model. Three kinds of hooks make an
architecture faster when it overrides them:

  residuals    what a step computes and its backward pass needs. `unroll_with_residuals`
               returns them, and `call_with_residuals` then differentiates the whole
               sequence without computing it a second time.
  cache block  the number of steps after which a carry that grows with every step (a
               transformer's key-value cache) is extended, so that early steps do not pay
               for late ones.
  microbatch   the number of trajectories whose activations fit the cache of a CPU core.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

# Nest of tensors that a model carries from one step to the next.
Carry = Any
# (s_t [B, n], scalar t) -> a_t [B, m]
Act = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_MAX_CHUNKS = 10  # every chunk is compiled separately
_told_accelerator: bool | None = None


def chunks(steps: int, length: int) -> list[tuple[int, int]]:
  """Splits a sequence into at most ten chunks of `length` steps or more; the last may be shorter.

  On a CPU the arrays of a chunk stay in the cache from one layer, and from one pass, to the next.
  An accelerator has the sequence whole.
  """
  length = steps if has_accelerator() else max(length, -(-steps // _MAX_CHUNKS))
  return [(begin, min(begin + length, steps)) for begin in range(0, steps, length)]


def has_accelerator() -> bool:
  """Whether to build programs for a GPU or TPU: as `made_for` says, else if there is one."""
  if _told_accelerator is not None:
    return _told_accelerator
  return any(tf.config.list_logical_devices(kind) for kind in ('GPU', 'TPU'))


@contextlib.contextmanager
def made_for(accelerator: bool) -> Iterator[None]:
  """A context in which agents are built and traced for an accelerator, or a CPU, wherever it is."""
  global _told_accelerator
  before, _told_accelerator = _told_accelerator, accelerator
  try:
    yield
  finally:
    _told_accelerator = before


class UnrollingModel(tf.keras.Model):
  """The loop over time of a model that has `start` and `step`."""

  # Widths k of the residuals of one step.
  residual_sizes: Sequence[int] = ()

  def unroll(self, initial_state: tf.Tensor, horizon: int, act: Act) -> tf.Tensor:
    """Predicts a trajectory step by step, with a policy in the loop.

    Args:
      initial_state: [B, n], s_0.
      horizon: T.
      act: function (s_t [B, n] as predicted, scalar t) -> a_t [B, m].

    Returns:
      [B, T, n], the predictions of s_1 .. s_T.
    """
    return self._unroll(initial_state, horizon, act, lambda *now: (*self.step(*now), ()), ())[0]

  def unroll_with_residuals(self, initial_state: tf.Tensor, horizon: int,
                            act: Act) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """As `unroll`; also returns the residuals [T, B, k] for `call_with_residuals`."""
    return self._unroll(
        initial_state, horizon, act, self.step_with_residuals, self.residual_sizes)

  def call_with_residuals(self, initial_state: tf.Tensor, actions: tf.Tensor,
                          residuals: Sequence[tf.Tensor]) -> tf.Tensor:
    """`call` with the actions and residuals of `unroll_with_residuals`; differentiable."""
    del residuals
    return self(initial_state, actions)

  def step_with_residuals(self, carry: Carry, action: tf.Tensor,
                          t: tf.Tensor) -> tuple[tf.Tensor, Carry, list[tf.Tensor]]:
    """As `step`; also returns the residuals of the step, tensors [B, k]."""
    return *self.step(carry, action, t), []

  def grow_cache(self, carry: Carry, steps: int) -> Carry:
    """Returns a full carry with room for `steps` more steps."""
    del steps
    return carry

  def cache_block(self, horizon: int) -> int:
    """Returns the number of steps after which `unroll` grows the carry; by default all of them."""
    return horizon

  def microbatch_size(self, horizon: int) -> int | None:
    """Returns the number of trajectories that one CPU core best trains on; None for any."""
    del horizon
    return None

  def _unroll(self, initial_state, horizon, act, step, residual_sizes):
    """As `unroll_with_residuals`, with `step` in place of `step_with_residuals`."""
    block = self.cache_block(horizon)
    carry = self.start(initial_state, min(block, horizon))
    loop, blocks = (initial_state, carry), []
    batch, size = initial_state.shape
    sizes = [size, *residual_sizes]
    for begin in range(0, horizon, block):
      steps = min(block, horizon - begin)
      if begin > 0:
        loop = loop[0], self.grow_cache(loop[1], steps)

      def body(k, state, carry, rows, begin=begin):
        state, carry, residuals = step(carry, act(state, begin + k), begin + k)
        return k + 1, state, carry, rows.write(k, tf.concat([state, *residuals], -1))

      rows = tf.TensorArray(initial_state.dtype, steps, element_shape=[batch, sum(sizes)])
      _, *loop, rows = tf.while_loop(
          lambda k, *_, steps=steps: k < steps, body, (0, *loop, rows), maximum_iterations=steps)
      blocks.append(rows.stack())
    states, *residuals = tf.split(tf.concat(blocks, 0), sizes, -1)
    return tf.transpose(states, [1, 0, 2]), residuals
