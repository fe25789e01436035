"""Rolling a system out under a given action sequence."""

import tensorflow as tf

from asm_tf.systems.system import System


def simulate(system: System, actions: tf.Tensor,
             noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
  """States and rewards of an open-loop action sequence.

  Args:
    system: a `System`.
    actions: [B, H, m] in [-1, 1].
    noise: [B, H, n] standard normal draws, or None.

  Returns:
    states [B, H+1, n] (s_0 .. s_H) and rewards [B, H]; both differentiable in
    the actions.

  Raises:
    ValueError: if the actions do not fit the system.
  """
  if actions.shape.rank != 3 or actions.shape[1:] != (system.horizon, system.action_size):
    raise ValueError(f'actions have shape {actions.shape}, expected '
                     f'[B, {system.horizon}, {system.action_size}].')
  states = [system.initial_state(tf.shape(actions)[0])]
  for t in range(system.horizon):
    noise_t = None if noise is None else noise[:, t]
    states.append(system.step(states[-1], actions[:, t], t, noise_t))
  states = tf.stack(states, 1)  # [B, H+1, n]
  rewards = system.reward(states[:, :-1], actions, tf.range(system.horizon))
  return states, rewards


def return_and_gradient(system: System,
                        actions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """As `simulate`, and the gradient of the return: states, rewards, [B, H, m]."""
  with tf.GradientTape() as tape:
    tape.watch(actions)
    states, rewards = simulate(system, actions)
    returns = tf.reduce_sum(rewards, 1)
  return states, rewards, tape.gradient(returns, actions)
