"""The environment that belongs to a system."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from asm_tf.environments.gymnasium_environment import GymnasiumEnvironment
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.systems.system import System


def make_environment(system: System | GymnasiumSystem, batch_size: int = 1,
                     seed: int | tuple[int, ...] = 0) -> SystemEnvironment | GymnasiumEnvironment:
  """Makes a TF environment of `batch_size` copies with `reseed` and `checkpoint_items`.

  After `reseed(k)` an episode meets the same random numbers every time, others for every k.

  Args:
    system: `System`, whose equations run in the graph, or `GymnasiumSystem`.
    batch_size: number of copies.
    seed: of everything random in them, an integer or a tuple of integers.
  """
  if isinstance(system, GymnasiumSystem):
    return GymnasiumEnvironment(system, batch_size, seed)
  return SystemEnvironment(system, batch_size, seed)


@contextlib.contextmanager
def failures_of(env: SystemEnvironment | GymnasiumEnvironment) -> Iterator[None]:
  """A context that raises the `UserError` of a Python environment, not the graph's error."""
  try:
    yield
  except tf.errors.OpError as error:
    failure = getattr(env, 'failure', None)
    raise (error if failure is None else failure) from None
