"""The exceptions that `launch/` tells apart: bad input, workers that are gone, runs that failed."""

import numbers


class UserError(Exception):
  """Bad input. The message is one line: the cause, then the remedy.

  `launch/` prints it to stderr without a traceback and exits with `exit_code`.

  Attributes:
    message: the line. `str` may hold more: gin adds lines about its call stack.
  """

  exit_code = 2

  def __init__(self, message):
    super().__init__(message)
    self.message = message


class LostWorkers(UserError):
  """Another worker of a run on several hosts is gone: no bad input, but one line as well."""

  exit_code = 1


class FailedRuns(Exception):
  """Runs that failed at every attempt; the others are finished and kept. A line a run."""


def require_at_least(least, **values):
  """Raises `UserError` unless every value is a whole number of at least `least`."""
  for name, value in values.items():
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
      raise UserError(f'{name} is {value!r}: give a whole number, at least {least}.')


def require_positive(**values):
  """Raises `UserError` unless every value is a finite number above 0."""
  for name, value in values.items():
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not (
        0 < value < float('inf')):
      raise UserError(f'{name} is {value!r}: give a positive number.')


def require_not_negative(**values):
  """Raises `UserError` unless every value is a finite number of at least 0."""
  for name, value in values.items():
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not (
        0 <= value < float('inf')):
      raise UserError(f'{name} is {value!r}: give a number of at least 0.')


def require_sizes(**values):
  """Raises `UserError` unless every value is a list of positive whole numbers."""
  for name, value in values.items():
    if not isinstance(value, (list, tuple)) or not value:
      raise UserError(f'{name} is {value!r}: give a list of sizes, such as (64,).')
    for size in value:
      require_at_least(1, **{name: size})
