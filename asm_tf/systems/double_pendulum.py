"""Double pendulum: the first action sets the angle, chaos does the rest (paper, 4.2, F.2).

State: angle and velocity of the inner pendulum, then of the outer. Unit lengths
and masses, g = 9.8, dt = 0.05, integrated by classical Runge-Kutta. At t = 0 the
state becomes (scale a, 0, scale a_goal, 0); the goal is the state that the goal
action reaches, and it is the start observation too.

    r_{H-1} = -mean((s_{H-1} - goal)^2),  angles in radians, unwrapped
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from asm_tf.errors import require_between, require_finite
from asm_tf.systems.system import System

GRAVITY = 9.8


class DoublePendulum(System):
  start = (0.0, 0.0, 0.0, 0.0)
  state_bounds = ((-float('inf'), float('inf')),) * 4
  control_bounds = ((-1.0, 1.0),)
  dt = 0.05

  def __init__(self, horizon: int, dtype: tf.DType = tf.float32, process_noise: float = 0.0,
               distractors: int = 0, angle_scale: float = float(np.pi), goal_action: float = -0.4,
               substeps: int = 10):
    """See `System`.

    Args:
      angle_scale: angle in radians of the action 1. The paper's text means pi (180
        degrees); its code uses 180 radians.
      goal_action: the initial action whose final state is the goal.
      substeps: Runge-Kutta steps within one dt.
    """
    super().__init__(horizon, dtype, process_noise, distractors)
    require_finite(angle_scale=angle_scale, goal_action=goal_action)
    require_between(1, 1000, substeps=substeps)
    self.angle_scale = angle_scale
    self.goal_action = goal_action
    self.substeps = substeps
    self.start = tuple(self._goal())

  def _goal(self):
    """s_{H-1}, the state that is rewarded, under the goal action, [4], in float64."""
    angle = self.angle_scale * self.goal_action
    return _swing(
        tf.constant([angle, 0.0, angle, 0.0], tf.float64),
        tf.constant(self.dt / self.substeps, tf.float64),
        tf.constant((self.horizon - 2) * self.substeps)).numpy()

  def _transition(self, state, action, t):
    angle = self.angle_scale * action[..., 0]
    zero = tf.zeros_like(angle)
    pushed = tf.stack([angle, zero, zero + self.angle_scale * self.goal_action, zero], -1)
    swung = state
    for _ in range(self.substeps):
      swung = runge_kutta_4(double_pendulum_derivative, swung, self.dt / self.substeps)
    return tf.where(tf.equal(t, 0)[..., None], pushed, swung)

  def _reward(self, state, action, t):
    miss = tf.reduce_mean((state - self._constant(self.start)) ** 2, -1)
    return tf.where(tf.equal(t, self.horizon - 1), -miss, tf.zeros_like(miss))


def double_pendulum_derivative(state: tf.Tensor) -> tf.Tensor:
  """Time derivative [..., 4] of (angle1, velocity1, angle2, velocity2)."""
  angle1, velocity1, angle2, velocity2 = tf.unstack(state, axis=-1)
  difference = angle1 - angle2
  sine, cosine = tf.sin(difference), tf.cos(difference)
  common = 3 - tf.cos(2 * difference)
  acceleration1 = (
      -3 * GRAVITY * tf.sin(angle1) - GRAVITY * tf.sin(angle1 - 2 * angle2)
      - 2 * sine * (velocity2**2 + velocity1**2 * cosine)) / common
  acceleration2 = 2 * sine * (
      2 * velocity1**2 + 2 * GRAVITY * tf.cos(angle1) + velocity2**2 * cosine) / common
  return tf.stack([velocity1, acceleration1, velocity2, acceleration2], -1)


def runge_kutta_4(derivative: Callable[[tf.Tensor], tf.Tensor], state: tf.Tensor,
                  step: float) -> tf.Tensor:
  """One classical Runge-Kutta step of length `step`."""
  k1 = derivative(state)
  k2 = derivative(state + step / 2 * k1)
  k3 = derivative(state + step / 2 * k2)
  k4 = derivative(state + step * k3)
  return state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


@tf.function(autograph=False)  # as a graph: step by step it would take seconds
def _swing(state, step, steps):
  """The state after `steps` Runge-Kutta steps of length `step`."""
  return tf.while_loop(
      lambda t, _: t < steps,
      lambda t, state: (t + 1, runge_kutta_4(double_pendulum_derivative, state, step)),
      (0, state))[1]
