"""The environment that belongs to a system."""

import contextlib

import tensorflow as tf

from asm_tf.environments.gymnasium_environment import GymnasiumEnvironment
from asm_tf.environments.system_environment import SystemEnvironment


def make_environment(system, batch_size=1, seed=0):
  """A TF environment of `batch_size` copies with `reseed` and `checkpoint_items`.

  Args:
    system: `System`, whose equations run in the graph, or `GymnasiumSystem`.
    batch_size: number of copies.
    seed: of everything random in them, whole number or a tuple of some.
  """
  make = SystemEnvironment if system.is_differentiable else GymnasiumEnvironment
  return make(system, batch_size, seed)


@contextlib.contextmanager
def failures_of(env):
  """Lets the `UserError` of an environment in Python out of the graph that it runs in."""
  try:
    yield
  except tf.errors.OpError as error:
    failure = getattr(env, 'failure', None)
    raise (error if failure is None else failure) from None
