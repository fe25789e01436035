"""Copies of a Gymnasium environment behind TF-Agents' interface of environments."""

import functools
import os
import traceback
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import tensorflow as tf
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tf_agents.environments import py_environment, tf_py_environment
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.errors import UserError, one_line

_LARGEST_INTEGER = 2**24  # up to which float32 has every whole number


class GymnasiumEnvironment(tf_py_environment.TFPyEnvironment):
  """`GymnasiumCopies` as a TF environment, for drivers that run in a graph."""

  def __init__(self, system: GymnasiumSystem, batch_size: int = 1, seed: int | tuple[int, ...] = 0):
    """Builds the environment: see `GymnasiumCopies`."""
    super().__init__(GymnasiumCopies(system, batch_size, seed))

  def reseed(self, number: int = 0) -> None:
    """Goes on as after so many episodes of every copy, in eager code or a graph."""
    tf.numpy_function(self.pyenv.reseed, [number], [])

  def checkpoint_items(self) -> dict:
    """What a checkpoint between two episodes must hold, by name."""
    return {'episodes': self.pyenv.episodes}


class GymnasiumCopies(py_environment.PyEnvironment):
  """Steps `batch_size` copies of a Gymnasium environment, by Gymnasium's own vector environment.

  The observation [n+1] is the flattened observation, then the time step, both as floats.
  Actions in [-1, 1] are rescaled to the environment's bounds. An episode ends when the environment
  ends it and at the latest after H steps, with discount 0, since in a problem of H steps nothing
  that comes after them counts; where the system is not time-aware, the discount is 0 only if the
  environment terminated. A copy that is stepped at its end begins its next episode; the others go
  on.

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
    self.episodes = EpisodeNumbers(batch_size)
    seeds = np.atleast_1d(seed).tolist()
    self._vector = SyncVectorEnv(
        [functools.partial(SeededEpisodes, system, self.episodes, seeds, i)
         for i in range(batch_size)], copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
    self.failure: UserError | None = None

  @property
  def batched(self) -> bool:
    return True

  @property
  def batch_size(self) -> int:
    return self._vector.num_envs

  def observation_spec(self) -> array_spec.ArraySpec:
    # Without bounds, from which TF-Agents would draw number by number to build a network.
    return array_spec.ArraySpec([self._system.state_size + 1], np.float32, name='observation')

  def action_spec(self) -> array_spec.BoundedArraySpec:
    return array_spec.BoundedArraySpec(
        [self._system.action_size], np.float32, -1.0, 1.0, name='action')

  def reseed(self, number: int) -> None:
    """Goes on as after so many episodes of every copy."""
    self.episodes.go_on_after(number)

  def _reset(self):
    states, _ = self._guarded(self._vector.reset)
    nothing = np.zeros(self.batch_size)
    return self._time_step(states, nothing, nothing > 0, nothing > 0)

  def _step(self, action):
    return self._time_step(*self._guarded(self._vector.step, action)[:4])

  def _guarded(self, function, *arguments):
    """Keeps the failure: TensorFlow passes on no exception as it was."""
    try:
      return function(*arguments)
    except UserError as failure:
      self.failure = failure
      raise

  def _time_step(self, states, rewards, terminated, truncated):
    t = np.array([copy.t for copy in self._vector.envs])
    ended = terminated | truncated
    step_type = np.where(t == 0, ts.StepType.FIRST,
                         np.where(ended, ts.StepType.LAST, ts.StepType.MID))
    is_end = ended if self._system.time_aware else terminated
    return ts.TimeStep(
        step_type=step_type.astype(np.int32), reward=rewards.astype(np.float32),
        discount=np.where(is_end, 0.0, 1.0).astype(np.float32),
        observation=np.column_stack([states, t]).astype(np.float32))


class SeededEpisodes(gymnasium.Wrapper):
  """One copy: episodes of at most H steps, each with a seed of its own, in plain numbers.

  The seed is made of the environment's, the copy's number and the episode's, so that an episode
  depends on no other: a resumed run meets the episodes that an uninterrupted one would have met.

  Attributes:
    t: steps of the episode so far.
    seed: of the episode.
  """

  def __init__(self, system: GymnasiumSystem, episodes: 'EpisodeNumbers', seeds: list[int], i: int):
    """Makes a new copy.

    Args:
      system: `GymnasiumSystem`.
      episodes: counts those of all copies.
      seeds: of the environment.
      i: number of this copy.
    """
    super().__init__(system.make())
    self.observation_space = gymnasium.spaces.Box(
        -np.inf, np.inf, [system.state_size], np.float32)
    self.action_space = gymnasium.spaces.Box(-1.0, 1.0, [system.action_size], np.float32)
    self._system = system
    self._episodes, self._seeds, self._i = episodes, seeds, i
    self.t = self.seed = 0

  def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[
      np.ndarray, dict[str, Any]]:
    """Begins the next episode; its seed is its own, whatever is given here."""
    self.t, number = 0, self._episodes.next(self._i)
    self.seed = int(np.random.SeedSequence([*self._seeds, self._i, number]).generate_state(1)[0])
    observation, _ = self._called('reset', lambda: self.env.reset(seed=self.seed))
    return self._state(observation), {}

  def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
    """Takes one step with an action [m] in [-1, 1]."""
    system = self._system
    observation, reward, terminated, truncated, _ = self._called(
        'step', lambda: self.env.step(system.native_action(action)))
    self.t += 1
    reward = float(self._number(reward, 'reward'))
    if not np.isfinite(reward):
      self._fail(f'gave the reward {reward}: mend the environment')
    terminated = bool(self._number(terminated, 'terminated'))
    truncated = bool(self._number(truncated, 'truncated')) or self.t == system.horizon
    if (terminated or truncated) and system.has_fixed_length and self.t < system.horizon:
      self._fail(f'ended the episode before H = {system.horizon}: add '
                 '--gin_bindings=GymnasiumSystem.can_terminate=True')
    return self._state(observation), reward, terminated, truncated, {}

  def _called(self, name: str, call: Callable) -> Any:
    """What a call of the environment returns; a `UserError` with its place where it raises."""
    try:
      return call()
    except Exception as error:  # another's code may raise anything
      frames = traceback.extract_tb(error.__traceback__)
      frame, said = frames[-1], one_line(error)
      if any(one.filename == gymnasium.spaces.utils.__file__ for one in frames):
        self._fail(f'gave an observation in {name}() that does not fit its space '
                   f'({type(error).__name__}: {said}): mend the environment', error)
      self._fail(f'raised {type(error).__name__} in {name}(), {os.path.basename(frame.filename)} '
                 f'line {frame.lineno}: {said}', error)

  def _number(self, value, name):
    """A number, or the one in an array."""
    array = np.asarray(value)
    is_real = array.dtype.kind in 'biuf'
    if array.size != 1 or not is_real:
      what = f'{array.size} numbers' if is_real else repr(value)
      self._fail(f'gave {what} as the {name} of a step: mend the environment')
    return array.item()

  def _state(self, observation):
    given = np.ravel(observation)
    state = given.astype(np.float32)
    if state.shape != (self._system.state_size,):
      self._fail(f'gave an observation of {state.size} numbers instead of the '
                 f'{self._system.state_size} of its space: mend the environment')
    if not np.all(np.isfinite(state)):
      self._fail(f'gave an observation that is not finite, {state.tolist()}: mend the '
                 'environment')
    if given.dtype.kind in 'iu' and np.any(np.abs(given.astype(np.float64)) > _LARGEST_INTEGER):
      self._fail('gave whole numbers beyond 2**24, which float32 does not tell apart: add a '
                 'wrapper that scales them, GymnasiumSystem.wrappers')
    if self._system.integer_dtype is not None:
      low, high = self._system.state_low, self._system.state_high
      if not np.all((low <= state) & (state <= high) & (state == np.rint(state))):
        self._fail('gave an observation outside its space, of whole numbers from '
                   f'{low.min():.0f} to {high.max():.0f}: mend the environment')
    return state

  def _fail(self, what, cause=None):
    raise UserError(f'{self._system.name}, episode {self._episodes.last(self._i)}, step {self.t}: '
                    f'the environment {what}.') from cause


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

  def go_on_after(self, number: int) -> None:
    """Counts as if every copy had begun so many episodes."""
    self._begun[:] = number

  def serialize(self) -> bytes:
    return self._begun.tobytes()

  def deserialize(self, string_value: bytes) -> None:
    self._begun[:] = np.frombuffer(string_value, np.int64)
