"""How much memory there is, and one line where it does not suffice."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from asm_tf.errors import UserError, one_line

_LIMITS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')

# What TensorFlow says of a shape that no machine could hold.
_TOO_MANY = 'would have more than 2**63 - 1 elements'


def usable_memory() -> int:
  """Returns the bytes of memory that this process may use at most."""
  limits = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
  for path in _LIMITS:  # of a container
    with contextlib.suppress(OSError, ValueError):  # ValueError: 'max'
      limits.append(int(pathlib.Path(path).read_text(encoding='utf-8')))
  return min(limits)


def require_memory(size: int, what: str, remedy: str) -> None:
  """Raises `UserError` where `what`, of `size` bytes, cannot fit; `remedy` says what helps."""
  usable = usable_memory()
  if size > usable:
    raise UserError(f'{what} would take {size / 2**30:,.1f} GiB, and this machine has '
                    f'{usable / 2**30:.1f}: {remedy}.')


@contextlib.contextmanager
def shortage_reported() -> Iterator[None]:
  """A context that raises a `UserError` where TensorFlow or NumPy cannot allocate a tensor."""
  try:
    yield
  except (tf.errors.ResourceExhaustedError, tf.errors.InvalidArgumentError, MemoryError) as error:
    if isinstance(error, tf.errors.InvalidArgumentError) and _TOO_MANY not in str(error):
      raise
    raise UserError(f'this machine has too little memory ({one_line(error, 200)}): give smaller '
                    'sizes, of the networks, the batch, or the horizon.') from error
