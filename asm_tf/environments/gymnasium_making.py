"""Makes a Gymnasium environment; without TensorFlow, so that a process may draw its pictures."""

import sys
import warnings
from collections.abc import Sequence

import gymnasium
import gymnasium.wrappers

from asm_tf.errors import UserError
from asm_tf.quiet import harmless_lines_dropped

# A wrapper's name, or its name and its arguments.
Wrapper = str | tuple[str, dict]
_STATEFUL = gymnasium.wrappers.NormalizeObservation, gymnasium.wrappers.NormalizeReward


def make(name: str, kwargs: dict, wrappers: Sequence[Wrapper] = (),
         render_mode: str | None = None) -> gymnasium.wrappers.FlattenObservation:
  """Makes an environment, wrapped, with flat observations.

  Args:
    name: id.
    kwargs: of `gymnasium.make`.
    wrappers: see `GymnasiumSystem`.
    render_mode: as Gymnasium has it.

  Raises:
    UserError: if it cannot be made, or its observations are no fixed number of numbers.
  """
  if render_mode is not None:
    kwargs = kwargs | {'render_mode': render_mode}
  try:
    with harmless_lines_dropped(), warnings.catch_warnings():
      warnings.simplefilter('ignore', DeprecationWarning)  # of ids: an error says it again
      env = gymnasium.make(name, disable_env_checker=True, **kwargs)
  except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
    raise UserError(f"{name} cannot be made ({first_line(error)}): install what it needs (for "
                    "Gymnasium's own: pip install 'gymnasium[mujoco,box2d]').") from error
  except Exception as error:  # another's code may raise anything
    raise UserError(f'{name} cannot be made ({type(error).__name__}: {first_line(error)}): give '
                    'the id of a registered environment and the arguments that it takes, and '
                    'install what it needs.') from error
  for wrapper in wrappers:
    env = _wrapped(env, name, wrapper)
  _refuse_statistics(env, name)
  space = getattr(env, 'observation_space', None)
  if not isinstance(space, gymnasium.Space):
    raise UserError(f'{name} has no observation_space that is a gymnasium.Space: mend the '
                    'environment.')
  if not space.is_np_flattenable or gymnasium.spaces.flatdim(space) < 1:
    raise UserError(f'{name} has the observation space {space}, which is no fixed number of '
                    'numbers: add a wrapper that makes it one, GymnasiumSystem.wrappers.')
  return gymnasium.wrappers.FlattenObservation(env)


def _refuse_statistics(env, name):
  while isinstance(env, gymnasium.Wrapper):
    if isinstance(env, _STATEFUL):
      raise UserError(
          f'{name} is wrapped in {type(env).__name__}, which keeps statistics over episodes: they '
          'would differ between training and evaluation, and no checkpoint has them. Leave it: '
          'states and rewards are scaled here.')
    env = env.env


def first_line(error: Exception) -> str:
  """Returns the first line of what an error says."""
  return str(error).strip().split('\n', maxsplit=1)[0].rstrip('.')


def _wrapped(env, name, wrapper):
  wrapper_name, arguments = (wrapper, {}) if isinstance(wrapper, str) else wrapper
  module, _, attribute = wrapper_name.rpartition('.')
  found = getattr(sys.modules.get(module or 'gymnasium.wrappers'), attribute, None)
  if found is None:
    raise UserError(f'GymnasiumSystem.wrappers names {wrapper_name}, which is none of '
                    "gymnasium.wrappers and of no imported module (--gin_bindings='import "
                    f"{module or 'my_module'}').")
  try:
    return found(env, **arguments)
  except Exception as error:  # another's code may raise anything
    raise UserError(f'{name} cannot be wrapped in {wrapper_name} ({first_line(error)}): mend '
                    'GymnasiumSystem.wrappers.') from error
