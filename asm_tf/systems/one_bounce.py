"""One bounce: push a block so that it stops at the goal after a wall (paper, 4.2).

State: position x, velocity v, wall, goal. The first action sets the velocity,
x = 0 and v = 10 (a - 2); then the block slides with friction and is reflected
when it meets the wall within a step.

    x' = v,   v' = -friction v,   r_{H-1} = -(x_{H-1} - goal)^2
"""

import tensorflow as tf

from asm_tf.systems.system import System


class OneBounce(System):
  start = (0.0, 0.0, -1.0, -0.5)
  state_bounds = ((-float('inf'), float('inf')),) * 4
  control_bounds = ((-1.0, 1.0),)
  dt = 0.01

  friction = 10.0

  def _transition(self, state, action, t):
    position, velocity, wall, goal = tf.unstack(state, axis=-1)
    ahead = position + velocity * self.dt
    bounces = ahead < wall
    slid_position = tf.where(bounces, 2 * wall - ahead, ahead)
    slid_velocity = tf.where(bounces, -velocity, velocity * (1 - self.friction * self.dt))
    is_push = tf.equal(t, 0)
    return tf.stack([
        tf.where(is_push, tf.zeros_like(position), slid_position),
        tf.where(is_push, 10 * (action[..., 0] - 2), slid_velocity),
        wall, goal,
    ], -1)

  def _reward(self, state, action, t):
    miss = (state[..., 0] - state[..., 3]) ** 2
    return tf.where(tf.equal(t, self.horizon - 1), -miss, tf.zeros_like(miss))
