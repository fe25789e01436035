"""Myriad's optimal-control problems, discretised by explicit Euler.

    s_{t+1} = clip(s_t + f(s_t, u_t) dt),   r_t = -cost(s_t, u_t, t dt) dt

with dt = T / H and u_t the action rescaled to the control's bounds. A terminal
cost, where there is one, is subtracted at t = H-1 and evaluated at s_{H-1}.
Source: paper, Appendix D; Howe et al. (2022), "Myriad"; Lenhart and Workman (2007).
"""

import tensorflow as tf

from asm_tf.systems.system import System


class MyriadSystem(System):
  """A problem is its `_derivative`, its `_cost` and perhaps its `_terminal_cost`."""

  def _derivative(self, state, control):
    """f(s, u), [..., n], in state units per unit of time."""
    raise NotImplementedError

  def _cost(self, state, control, time):
    """Running cost [...] per unit of time."""
    raise NotImplementedError

  def _terminal_cost(self, state):
    """Cost [...] of the last state; None where there is none."""

  def _transition(self, state, action, t):
    return state + self._derivative(state, self.control(action)) * self.dt

  def _reward(self, state, action, t):
    time = tf.cast(t, self.dtype) * self.dt
    reward = -self._cost(state, self.control(action), time) * self.dt
    terminal = self._terminal_cost(state)
    if terminal is None:
      return reward
    return tf.where(tf.equal(t, self.horizon - 1), reward - terminal, reward)
