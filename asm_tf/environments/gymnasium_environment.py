"""Copies of a Gymnasium environment behind TF-Agents' interface of environments."""

import numpy as np
import tensorflow as tf
from tf_agents.environments import py_environment, tf_py_environment
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.errors import UserError


class GymnasiumEnvironment(tf_py_environment.TFPyEnvironment):
  """`GymnasiumCopies` as a TF environment, for drivers that run in a graph."""

  def __init__(self, system: GymnasiumSystem, batch_size: int = 1, seed: int | tuple[int, ...] = 0):
    """Builds the environment: see `GymnasiumCopies`."""
    super().__init__(GymnasiumCopies(system, batch_size, seed))

  def reseed(self) -> None:
    """Starts again at the first episodes, in eager code or a graph."""
    tf.numpy_function(self.pyenv.reseed, [], [])

  def checkpoint_items(self) -> dict:
    """What a checkpoint between two episodes must hold, by name."""
    return {'episodes': self.pyenv.episodes}


class GymnasiumCopies(py_environment.PyEnvironment):
  """Steps `batch_size` copies of a Gymnasium environment.

  The observation [n+1] is the flattened observation, then the time step, both as floats.
  Actions in [-1, 1] are rescaled to the environment's bounds. An episode ends when the environment
  ends it and at the latest after H steps, with discount 0, since in a problem of H steps nothing
  that comes after them counts; where the system is not time-aware, the discount is 0 only if the
  environment terminated. A copy that is stepped at its end begins its next
  episode; the others go on.

  Every episode is reset with a seed made of the environment's, the copy's number and the
  episode's, so that it depends on no other: a resumed run meets the episodes that an
  uninterrupted one would have met.

  Attributes:
    episodes: `EpisodeNumbers`, to be checkpointed.
    failure: the `UserError` that stopped the environment, or None.
  """

  def __init__(self, system: GymnasiumSystem, batch_size: int = 1, seed: int | tuple[int, ...] = 0):
    """Builds the copies.

    Args:
      system: `GymnasiumSystem`.
      batch_size: number of copies.
      seed: whole number or a tuple of some.
    """
    super().__init__()
    self._system = system
    self._seed = np.atleast_1d(seed).tolist()
    self._copies = [system.make() for _ in range(batch_size)]
    self._t = np.zeros(batch_size, np.int32)
    self._ended = np.zeros(batch_size, bool)
    self.episodes = EpisodeNumbers(batch_size)
    self.failure = None

  @property
  def batched(self) -> bool:
    return True

  @property
  def batch_size(self) -> int:
    return len(self._copies)

  def observation_spec(self) -> array_spec.BoundedArraySpec:
    system = self._system
    return array_spec.BoundedArraySpec(
        [system.state_size + 1], np.float32, np.append(system.state_low, 0),
        np.append(system.state_high, system.horizon), name='observation')

  def action_spec(self) -> array_spec.BoundedArraySpec:
    return array_spec.BoundedArraySpec(
        [self._system.action_size], np.float32, -1.0, 1.0, name='action')

  def reseed(self) -> None:
    """Starts again at the first episodes."""
    self.episodes.restart()

  def _reset(self):
    return self._time_step([self._reset_copy(i) for i in range(self.batch_size)])

  def _step(self, action):
    # Copies end at different times: each resets itself, where TF-Agents would reset all at once.
    return self._time_step([
        self._reset_copy(i) if self._ended[i] else self._step_copy(i, action[i])
        for i in range(self.batch_size)])

  def _reset_copy(self, i):
    """(observation [n], reward, discount) at the start of the copy's next episode."""
    number = self.episodes.next(i)
    seed = np.random.SeedSequence([*self._seed, i, number]).generate_state(1)[0]
    observation, _ = self._copies[i].reset(seed=int(seed))
    self._t[i], self._ended[i] = 0, False
    return self._state(i, observation), 0.0, 1.0

  def _step_copy(self, i, action):
    observation, reward, terminated, truncated, _ = self._copies[i].step(
        self._system.native_action(action))
    self._t[i] += 1
    self._ended[i] = ended = terminated or truncated or self._t[i] == self._system.horizon
    if np.size(reward) != 1:
      self._fail(i, f'gave {np.size(reward)} rewards for a step: mend the environment')
    reward = float(np.reshape(reward, []))
    if not np.isfinite(reward):
      self._fail(i, f'gave the reward {reward}: mend the environment')
    if ended and self._system.has_fixed_length and self._t[i] < self._system.horizon:
      self._fail(i, f'ended the episode before H = {self._system.horizon}: add '
                    '--gin_bindings=CAN_TERMINATE=True')
    is_end = ended if self._system.time_aware else terminated
    return self._state(i, observation), reward, 0.0 if is_end else 1.0

  def _state(self, i, observation):
    state = np.ravel(observation).astype(np.float32)
    if state.shape != (self._system.state_size,):
      self._fail(i, f'gave an observation of {state.size} numbers instead of the '
                    f'{self._system.state_size} of its space: mend the environment')
    if not np.all(np.isfinite(state)):
      self._fail(i, f'gave an observation that is not finite, {state.tolist()}: mend the '
                    'environment')
    return state

  def _fail(self, i, what):
    number = self.episodes.last(i)
    self.failure = UserError(
        f'{self._system.name}, episode {number}, step {self._t[i]}: the environment {what}.')
    raise self.failure

  def _time_step(self, copies):
    states, rewards, discounts = zip(*copies, strict=True)
    step_type = np.where(self._t == 0, ts.StepType.FIRST,
                         np.where(self._ended, ts.StepType.LAST, ts.StepType.MID))
    return ts.TimeStep(
        step_type=step_type.astype(np.int32), reward=np.array(rewards, np.float32),
        discount=np.array(discounts, np.float32),
        observation=np.column_stack([states, self._t]).astype(np.float32))


class EpisodeNumbers(tf.train.experimental.PythonState):
  """How many episodes each copy has begun; part of a checkpoint."""

  def __init__(self, copies: int):
    self._begun = np.zeros(copies, np.int64)

  def next(self, i: int) -> int:
    """The number of the episode that copy i begins now, from 1."""
    self._begun[i] += 1
    return self.last(i)

  def last(self, i: int) -> int:
    """The number of the episode that copy i is in."""
    return int(self._begun[i])

  def restart(self) -> None:
    self._begun[:] = 0

  def serialize(self) -> bytes:
    return self._begun.tobytes()

  def deserialize(self, string_value: bytes) -> None:
    self._begun = np.frombuffer(string_value, np.int64).copy()
