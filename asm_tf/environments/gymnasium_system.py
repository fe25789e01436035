"""A Gymnasium environment as a finite-horizon problem: sizes, bounds and horizon, no equations.

What a `System` writes down, its step and its reward, only the environment knows here: the
agent learns both (gin/agents/learned_reward.gin), and there is no simulator to differentiate.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from asm_tf.errors import UserError, require_at_least

if TYPE_CHECKING:
  import gymnasium


class GymnasiumSystem:
  """Stands in for a `System` wherever its equations are not asked for.

  Attributes:
    name: id of the environment.
    horizon: H, the largest number of steps of an episode.
    has_fixed_length: True where every episode has H steps.
    time_aware: False where H only cuts episodes short.
    state_low: [n] bounds of the flattened observation, -inf where there is none.
    state_high: [n].
  """

  is_differentiable = False
  is_stochastic = True  # the start is drawn anew at every reset
  dtype = tf.float32
  distractors = 0
  dt = 1  # pictures count time in steps

  def __init__(self, horizon: int | None, environment: str, can_terminate: bool = True,
               kwargs: dict | None = None, time_aware: bool = True):
    """Looks at the environment.

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

    Raises:
      UserError: if the environment cannot be made, or has spaces or a length that do not fit.
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
    self.name = environment
    self.has_fixed_length = not can_terminate
    self.time_aware = time_aware
    self._kwargs = dict(kwargs or {})
    made = self.make()
    self.horizon = self._checked_length(
        horizon, made.spec.max_episode_steps if made.spec else None)
    space = self._box(made.observation_space, 'observation', 'FlattenObservation')
    self._action_space = self._box(made.action_space, 'action', 'RescaleAction')
    made.close()
    self.state_low, self.state_high = np.ravel(space.low), np.ravel(space.high)
    self._control_low = np.ravel(self._action_space.low)
    self._control_high = np.ravel(self._action_space.high)
    if not np.issubdtype(self._action_space.dtype, np.floating):
      raise UserError(f'{self.name} has actions of type {self._action_space.dtype}: wrap it so '
                      'that they are real numbers (gymnasium.wrappers.TransformAction).')
    if not np.all(np.isfinite([self._control_low, self._control_high])):
      raise UserError(f'{self.name} has actions without bounds: wrap it so that they have some '
                      '(gymnasium.wrappers.RescaleAction).')

  @property
  def state_size(self) -> int:
    """n."""
    return len(self.state_low)

  @property
  def action_size(self) -> int:
    """m."""
    return len(self._control_low)

  def make(self) -> 'gymnasium.Env':
    """A new copy of the environment."""
    try:
      import gymnasium  # here: others need not wait for it
      return gymnasium.make(self.name, disable_env_checker=True, **self._kwargs)
    except ImportError as error:
      raise UserError(f'{self.name} cannot be made ({_first_line(error)}): install what it '
                      'needs.') from error
    except (gymnasium.error.Error, TypeError, OSError) as error:
      raise UserError(
          f'{self.name} cannot be made ({_first_line(error)}): give the id of a registered '
          'environment and the arguments that it takes, and install what it needs.') from error

  def control(self, action: tf.Tensor) -> tf.Tensor:
    """The action [..., m] in [-1, 1], a tensor, rescaled to the environment's bounds."""
    low, high = self._control_low, self._control_high
    return low + (action + 1) / 2 * (high - low)

  def native_action(self, action: np.ndarray) -> np.ndarray:
    """An action [m] in [-1, 1], an array, as the environment takes it."""
    low, high = self._control_low, self._control_high
    control = low + (np.clip(action, -1, 1) + 1) / 2 * (high - low)
    control = np.clip(control, low, high)  # rounding may lead out
    return np.reshape(control, self._action_space.shape).astype(self._action_space.dtype)

  def _checked_length(self, horizon, limit):
    if horizon is None and limit is None:
      raise UserError(f'{self.name} has no limit of steps: give one, HORIZON=1000 for example.')
    horizon = limit if horizon is None else horizon
    require_at_least(2, horizon=horizon)
    if limit is not None and horizon > limit:
      raise UserError(f'the horizon is {horizon}, and an episode of {self.name} ends after '
                      f'{limit} steps: give HORIZON={limit} or less.')
    return horizon

  def _box(self, space, what, wrapper):
    import gymnasium
    if not isinstance(space, gymnasium.spaces.Box) or math.prod(space.shape) < 1:
      raise UserError(f'{self.name} has the {what} space {space}, and only a Box will do: wrap '
                      f'it, with gymnasium.wrappers.{wrapper} for example.')
    return space


def _first_line(error):
  return str(error).strip().split('\n', maxsplit=1)[0].rstrip('.')
