"""A `System` as a batched TF-Agents environment that runs inside a graph."""

import numpy as np
import tensorflow as tf
from tf_agents.environments import tf_environment
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from asm_tf.systems.system import System

_NOT_STARTED = -1


class SystemEnvironment(tf_environment.TFEnvironment):
  """Steps `batch_size` copies of a system in lock-step.

  The observation [n+1] is the state, then the integer time step as a float. An
  episode has exactly H steps; its end is a termination (discount 0). As in every
  TF-Agents environment, a step after the last, or before the first reset, resets.
  """

  def __init__(self, system: System, batch_size: int = 1, seed: int | tuple[int, ...] = 0):
    """Builds the environment.

    Args:
      system: a `System`.
      batch_size: number of copies.
      seed: of the process noise, where the system has any.
    """
    n, m = system.state_size, system.action_size
    observation_spec = tensor_spec.BoundedTensorSpec(
        [n + 1], system.dtype, np.append(system.state_low, 0),
        np.append(system.state_high, system.horizon), name='observation')
    action_spec = tensor_spec.BoundedTensorSpec([m], system.dtype, -1.0, 1.0, name='action')
    super().__init__(ts.time_step_spec(observation_spec), action_spec, batch_size)
    self.system = system
    self._t = tf.Variable(_NOT_STARTED, name='t')
    self._state = tf.Variable(system.initial_state(batch_size), name='state')
    self._reward = tf.Variable(tf.zeros([batch_size]), name='reward')
    self._seed = np.atleast_1d(seed).tolist()
    self._generator = tf.random.Generator.from_seed(self._seed_of_noise(0), alg='philox')

  def reseed(self, number: int = 0) -> None:
    """Starts the process noise again, from the seed and a number."""
    self._generator.reset_from_seed(self._seed_of_noise(number))

  def checkpoint_items(self) -> dict:
    """What a checkpoint must hold, by name (a TFEnvironment is not trackable)."""
    return {'t': self._t, 'state': self._state, 'reward': self._reward,
            'generator': self._generator}

  def _seed_of_noise(self, number):
    # Hashed: Philox counts up from a seed of three numbers, so that neighbours share their draws.
    return np.random.SeedSequence([*self._seed, number]).generate_state(2).tolist()

  def _current_time_step(self):
    return tf.cond(self._t == _NOT_STARTED, self._reset, self._time_step)

  def _reset(self):
    self._t.assign(0)
    self._state.assign(self.system.initial_state(self.batch_size))
    self._reward.assign(tf.zeros([self.batch_size]))
    return self._time_step()

  def _step(self, action):
    ended = (self._t == _NOT_STARTED) | (self._t == self.system.horizon)
    return tf.cond(ended, self._reset, lambda: self._advance(action))

  def _advance(self, action):
    noise = None
    if self.system.is_stochastic:
      noise = self._generator.normal(self._state.shape, dtype=self.system.dtype)
    action = tf.ensure_shape(action, [self.batch_size, self.system.action_size])
    reward = self.system.reward(self._state, action, self._t)
    self._reward.assign(tf.cast(reward, tf.float32))
    self._state.assign(self.system.step(self._state, action, self._t, noise))
    self._t.assign_add(1)
    return self._time_step()

  def _time_step(self):
    t = tf.identity(self._t)
    first, last = t == 0, t == self.system.horizon
    step_type = tf.where(first, ts.StepType.FIRST,
                         tf.where(last, ts.StepType.LAST, ts.StepType.MID))
    time = tf.fill([self.batch_size, 1], tf.cast(t, self.system.dtype))
    return ts.TimeStep(
        step_type=tf.fill([self.batch_size], step_type),
        reward=tf.identity(self._reward),
        discount=tf.fill([self.batch_size], tf.where(last & self.system.time_aware, 0.0, 1.0)),
        observation=tf.concat([self._state, time], -1))
