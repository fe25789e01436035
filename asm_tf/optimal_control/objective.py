"""The return of an action sequence and its gradient, compiled, for optimisers."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from asm_tf.systems.rollout import simulate
from asm_tf.systems.system import System

# actions [B, H, m] -> returns [B] and their gradients [B, H, m]
Objective = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def make_objective(system: System) -> Objective:
  """Compiles J(a) = sum_t r(s_t, a_t, t) and dJ/da for many action sequences at once.

  The time loop is a scan, not an unrolled graph, so that H = 500 compiles as fast
  as H = 20. It differs from `rollout.simulate` by rounding only.

  Args:
    system: a `System` in tf.float64.

  Returns:
    A function of actions [B, H, m] that gives returns [B] and gradients [B, H, m]
    as NumPy arrays. It is compiled once for each B.
  """

  @tf.function(jit_compile=True)
  def value_and_gradient(actions):
    with tf.GradientTape() as tape:
      tape.watch(actions)
      returns = _scanned_return(system, actions)
    return returns, tape.gradient(returns, actions)

  def objective(actions):
    returns, gradient = value_and_gradient(tf.constant(actions, system.dtype))
    return returns.numpy(), gradient.numpy()

  return objective


def rolled_out_return(system: System, actions: np.ndarray) -> float:
  """The return, a number, of actions [H, m] in the system itself."""
  _, rewards = simulate(system, tf.constant(np.asarray(actions)[None], system.dtype))
  return float(tf.reduce_sum(rewards))


def _scanned_return(system, actions):
  sequence = tf.transpose(actions, [1, 0, 2])  # [H, B, m]
  start = system.initial_state(actions.shape[0])
  later = tf.scan(lambda state, now: system.step(state, now[0], now[1]),
                  (sequence[:-1], tf.range(system.horizon - 1)), start)  # [H-1, B, n]
  states = tf.transpose(tf.concat([start[None], later], 0), [1, 0, 2])  # [B, H, n]
  return tf.reduce_sum(system.reward(states, actions, tf.range(system.horizon)), 1)
