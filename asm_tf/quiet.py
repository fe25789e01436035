"""Leaves the terminal to our own messages while others' C++ code starts up.

What TensorFlow logs while it is imported no setting of its own stops. Python sees nothing of it:
it goes to the process's stderr. So that is kept in a file meanwhile, and whatever is not known to
be harmless is passed on afterwards.
"""

import contextlib
import functools
import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.machinery import ModuleSpec

# TensorFlow on a machine without a GPU; MuJoCo on what Gymnasium's own models say.
_HARMLESS = re.compile(
    rb'WARNING: All log messages before absl::InitializeLog\(\)'
    rb'|[IWE]\d{4} .* (port|cudart_stub|cpu_feature_guard|cuda_platform)\.cc:\d+\]'
    rb'|To enable the following instructions: '
    rb"|WARNING: compiler attribute 'settotalmass' is deprecated|\s*$")
_STDERR = 2


@contextlib.contextmanager
def harmless_lines_dropped() -> Iterator[None]:
  """Within the context, lines on the process's stderr wait; then those that may matter follow."""
  if sys.stderr is None:  # it was closed: another file may have its number
    yield
    return
  with contextlib.ExitStack() as stack:
    try:
      kept = stack.enter_context(tempfile.TemporaryFile())
      terminal = os.dup(_STDERR)
    except OSError:  # nowhere to keep them, or no stderr
      yield
      return
    stack.callback(os.close, terminal)
    sys.stderr.flush()
    os.dup2(kept.fileno(), _STDERR)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(terminal, _STDERR)
      kept.seek(0)
      for line in kept:
        if not _HARMLESS.match(line):
          os.write(terminal, line)


def import_within(name: str, context: Callable[[], AbstractContextManager]) -> None:
  """Has a module imported within a context, whoever imports it."""
  if name not in sys.modules:
    sys.meta_path.insert(0, _Finder(name, context))


class _Finder(importlib.abc.MetaPathFinder):
  """Finds one module where the others find it, and wraps its import; works once."""

  def __init__(self, name, context):
    self._name, self._context = name, context

  def find_spec(self, fullname: str, path: object = None, target: object = None) -> (
      ModuleSpec | None):
    if fullname != self._name:
      return None
    sys.meta_path.remove(self)
    spec = importlib.util.find_spec(fullname)
    if spec is not None and spec.loader is not None:
      spec.loader.exec_module = functools.partial(  # type: ignore[method-assign]
          self._execute, spec.loader.exec_module)
    return spec

  def _execute(self, exec_module, module):
    with self._context():
      exec_module(module)
