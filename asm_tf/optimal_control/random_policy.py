"""The uniform random policy: the zero of the normalised score."""

import tensorflow as tf

from asm_tf.systems.system import System


def random_return(system: System, episodes: int = 10_000, seed: int = 0) -> tuple[float, float]:
  """Mean return of actions drawn uniformly from [-1, 1] at every step.

  Args:
    system: a `System` in tf.float64; noise and distractors stay off.
    episodes: number of roll-outs, all in one batch.
    seed: of the actions.

  Returns:
    (mean, standard error of the mean), two numbers.
  """
  state = system.initial_state(episodes)
  returns = tf.zeros([episodes], system.dtype)
  for t in range(system.horizon):
    action = tf.random.stateless_uniform(
        [episodes, system.action_size], [seed, t], -1, 1, system.dtype)
    returns += system.reward(state, action, t)
    state = system.step(state, action, t)
  return float(tf.reduce_mean(returns)), float(tf.math.reduce_std(returns) / episodes**0.5)
