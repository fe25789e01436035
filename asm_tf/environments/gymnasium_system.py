"""A Gymnasium environment as a finite-horizon problem: sizes, bounds and horizon, no equations.

What a `System` writes down, its step and its reward, only the environment knows here: the
agent learns both (gin/agents/learned_reward.gin), and there is no simulator to differentiate.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import tensorflow as tf

from asm_tf.environments import gymnasium_making
from asm_tf.environments.gymnasium_making import first_line
from asm_tf.errors import UserError, require_at_least


class GymnasiumSystem:
  """Stands in for a `System` wherever its equations are not asked for.

  Attributes:
    name: id of the environment.
    horizon: H, the largest number of steps of an episode.
    has_fixed_length: True where every episode has H steps.
    time_aware: False where H only cuts episodes short.
    kwargs: of `gymnasium.make`.
    wrappers: what the environment is wrapped in.
    copies: of the environment that an evaluation steps side by side.
    state_low: [n] bounds of the flattened observation, -inf where there is none.
    state_high: [n].
    state_names: n names of the flattened observation's parts, where the environment has any.
    integer_dtype: type of at most two bytes that holds every observation, or None.
  """

  is_differentiable = False
  is_stochastic = True  # the start is drawn anew at every reset
  dtype = tf.float32
  distractors = 0
  dt = 1  # pictures count time in steps

  def __init__(self, horizon: int | None, environment: str, can_terminate: bool = True,
               kwargs: dict | None = None, time_aware: bool = True,
               wrappers: Sequence[gymnasium_making.Wrapper] = (), copies: int = 8):
    """Looks at the environment, and plays one step of it.

    Args:
      horizon: H: at most the environment's own limit; below it, episodes end at H. None for
        that limit.
      environment: id, such as 'Pendulum-v1'.
      can_terminate: False promises that no episode ends before H, which spares the agent
        the mask and the model of termination.
      kwargs: dict, passed on to `gymnasium.make`.
      time_aware: True makes H a part of the problem: agents see the step, and nothing after H
        counts. False does neither: where H, or the environment's own limit, cuts an episode
        short, what would have come counts as much as before (Pardo et al., "Time Limits in
        Reinforcement Learning", ICML 2018). It needs an agent with a critic.
      wrappers: what the environment is wrapped in, the innermost first: names in
        `gymnasium.wrappers`, or 'module.Class' of a module that is imported, each alone or with
        a dict of its arguments, ('ClipReward', {'min_reward': -1}).
      copies: see the class; a run has one more to collect from.

    Raises:
      UserError: if the environment cannot be made, or has spaces, a length or an interface that
        do not fit.
    """
    if not isinstance(environment, str) or not environment:
      raise UserError(f'the environment is {environment!r}: give the id of a Gymnasium '
                      "environment, such as 'Pendulum-v1'.")
    if ':' in environment:  # would import a module, which --allow_gin_imports alone may
      module = environment.split(':')[0]
      raise UserError(f'{environment}: name the environment alone and import its module, '
                      f"--gin_bindings='import {module}'.")
    if not isinstance(kwargs or {}, dict):
      raise UserError(f'kwargs of {environment} is {kwargs!r}: give a dict.')
    require_at_least(1, **{'GymnasiumSystem.copies': copies})
    self.name = environment
    self.has_fixed_length = not can_terminate
    self.time_aware = time_aware
    self.copies = copies
    self.kwargs: dict[str, Any] = dict(kwargs or {})
    self.wrappers = wrappers
    made: Any = self.make()
    self.horizon = self._checked_length(
        horizon, made.spec.max_episode_steps if made.spec else None)
    space = made.observation_space
    self.state_low, self.state_high = (
        np.ravel(bound).astype(np.float64) for bound in (space.low, space.high))
    self.state_names = _names(made.env.observation_space)
    self.integer_dtype = _integer_dtype(space)
    self._action_space = self._checked_actions(made)
    self._control_low = np.ravel(self._action_space.low)
    self._control_high = np.ravel(self._action_space.high)
    self._require_interface(made.unwrapped)
    if wrappers:
      self._require_interface(made.env)
    made.close()

  @property
  def state_size(self) -> int:
    """n."""
    return len(self.state_low)

  @property
  def action_size(self) -> int:
    """m."""
    return len(self._control_low)

  def make(self) -> gymnasium.wrappers.FlattenObservation:
    """Returns a new copy, wrapped, with flat observations."""
    return gymnasium_making.make(self.name, self.kwargs, self.wrappers)

  def control(self, action: tf.Tensor | np.ndarray) -> tf.Tensor | np.ndarray:
    """The action [..., m] in [-1, 1], rescaled to the environment's bounds."""
    low, high = self._control_low, self._control_high
    return low + (action + 1) / 2 * (high - low)

  def native_action(self, action: np.ndarray) -> np.ndarray:
    """An action [m] in [-1, 1], an array, as the environment takes it."""
    control = self.control(np.clip(action, -1, 1))
    control = np.clip(control, self._control_low, self._control_high)  # rounding may lead out
    return np.reshape(control, self._action_space.shape).astype(self._action_space.dtype)

  def _checked_length(self, horizon, limit):
    if horizon is None and limit is None:
      raise UserError(f'{self.name} has no limit of steps: give one, HORIZON=1000 for example.')
    horizon = limit if horizon is None else horizon
    require_at_least(2, horizon=horizon)
    if limit is not None and horizon > limit:
      raise UserError(f'the horizon is {horizon}, and an episode of {self.name} ends after '
                      f'{limit} steps: give a horizon of at most {limit}.')
    return horizon

  def _checked_actions(self, made):
    """The action space, a bounded Box of real numbers."""
    space = getattr(made, 'action_space', None)
    if not isinstance(space, gymnasium.spaces.Box) or math.prod(space.shape) < 1:
      takes = inspect.signature(type(made.unwrapped)).parameters
      remedy = ("add --gin_bindings=\"GymnasiumSystem.kwargs={'continuous': True}\""
                if 'continuous' in takes else 'choose an environment whose actions are')
      raise UserError(f'{self.name} has the action space {space}, and agents here act by real '
                      f'numbers: {remedy}.')
    if not np.issubdtype(space.dtype, np.floating):
      raise UserError(f'{self.name} has actions of type {space.dtype}, and agents here act by '
                      'real numbers: wrap it in a gymnasium.ActionWrapper of yours that rounds '
                      'them, GymnasiumSystem.wrappers.')
    if not np.all(np.isfinite([space.low, space.high])):
      raise UserError(f'{self.name} has actions without bounds: wrap it in a '
                      'gymnasium.ActionWrapper of yours whose action_space has some, '
                      'GymnasiumSystem.wrappers.')
    return space

  def _require_interface(self, env):
    """Raises `UserError` unless `reset` and `step` take and return what Gymnasium says."""
    reset = self._called(lambda: env.reset(seed=0), 'reset(seed=0)')
    if not isinstance(reset, tuple) or len(reset) != 2 or not isinstance(reset[1], dict):
      raise UserError(f'{self.name}: reset() returns {_described(reset)} instead of (observation, '
                      'info), as Gymnasium has it since 0.26: mend the environment.')
    step = self._called(lambda: env.step(env.action_space.sample()), 'step()')
    if not isinstance(step, tuple) or len(step) != 5:
      raise UserError(f'{self.name}: step() returns {_described(step)} instead of (observation, '
                      'reward, terminated, truncated, info), as Gymnasium has it since 0.26: mend '
                      'the environment.')

  def _called(self, call, name):
    try:
      return call()
    except Exception as error:  # another's code may raise anything
      raise UserError(f'{self.name}: {name} raises {type(error).__name__} ({first_line(error)}): '
                      'mend the environment.') from error


def _integer_dtype(space):
  """The smallest integer type of at most two bytes that holds a Box of whole numbers, or None."""
  if not np.issubdtype(space.dtype, np.integer):
    return None
  low, high = space.low.min(), space.high.max()
  return next((dtype for dtype in (tf.uint8, tf.int8, tf.uint16, tf.int16)
               if dtype.min <= low and high <= dtype.max), None)


def _names(space, name=''):
  """The names of the numbers that a space is flattened to; None where it has no names at all."""
  if isinstance(space, gymnasium.spaces.Dict):
    parts = [(f'{name}.{key}' if name else key, part) for key, part in space.spaces.items()]
  elif isinstance(space, gymnasium.spaces.Tuple) and name:
    parts = [(f'{name}.{i}', part) for i, part in enumerate(space.spaces)]
  elif name:
    size = gymnasium.spaces.flatdim(space)
    return [name] if size == 1 else [f'{name} {i + 1}' for i in range(size)]
  else:
    return None
  names = [_names(part, part_name) for part_name, part in parts]
  return None if None in names else [one for some in names for one in some]


def _described(value):
  return f'a tuple of {len(value)}' if isinstance(value, tuple) else f'a {type(value).__name__}'
