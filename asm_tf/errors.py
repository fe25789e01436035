"""The exceptions that `launch/` distinguishes: bad input, lost workers, failed runs."""

import numbers
from typing import Any

_LARGEST = 10**18  # the largest power of ten that int64 holds; float32 holds its square


class UserError(Exception):
  """Bad input. The message is one line: the cause, then the remedy.

  `launch/` prints it to stderr without a traceback and exits with `exit_code`.

  Attributes:
    message: the line. `str(error)` may hold more: gin adds lines about its call stack.
  """

  exit_code = 2

  def __init__(self, message: str):
    super().__init__(message)
    self.message = message


class LostWorkers(UserError):
  """Another worker of a run on several hosts is gone: not bad input, but one line too."""

  exit_code = 1


class FailedRuns(Exception):
  """Runs that failed at every attempt, one per line; the others are finished and kept."""


def one_line(error: object, most: int | None = None) -> str:
  """Returns what an error says in one line, of at most so many characters."""
  return ' '.join(str(error).split())[:most]


def require_at_least(least: int, **values: Any) -> None:
  """Raises `UserError` unless every value is a whole number of at least `least`."""
  for name, value in values.items():
    if not _is_number(value) or not isinstance(value, numbers.Integral) or value < least:
      raise UserError(f'{name} is {_short(value)}: give a whole number, at least {least}.')


def require_between(least: int, most: int, **values: Any) -> None:
  """Raises `UserError` unless every value is a whole number from `least` to `most`."""
  require_at_least(least, **values)
  for name, value in values.items():
    if value > most:
      raise UserError(f'{name} is {_short(value)}: give a whole number from {least} to {most}.')


def require_positive(**values: Any) -> None:
  """Raises `UserError` unless every value is a finite number above 0."""
  _require(values, lambda value: value > 0, 'a positive number')


def require_not_negative(**values: Any) -> None:
  """Raises `UserError` unless every value is a finite number of at least 0."""
  _require(values, lambda value: value >= 0, 'a number of at least 0')


def require_finite(**values: Any) -> None:
  """Raises `UserError` unless every value is a finite number."""
  _require(values, lambda value: True, 'a finite number')


def require_sizes(**values: Any) -> None:
  """Raises `UserError` unless every value is a list of positive whole numbers."""
  for name, value in values.items():
    if not isinstance(value, (list, tuple)) or not value:
      raise UserError(f'{name} is {_short(value)}: give a list of sizes, such as (64,).')
    for size in value:
      require_at_least(1, **{name: size})


def require_share(**values: Any) -> None:
  """Raises `UserError` unless every value is a number above 0, up to 1."""
  _require(values, lambda value: 0 < value <= 1, 'a number above 0, up to 1')


def require_from_0_to_1(**values: Any) -> None:
  """Raises `UserError` unless every value is a number from 0 to 1."""
  _require(values, lambda value: 0 <= value <= 1, 'a number from 0 to 1')


def _require(values, fits, wish):
  for name, value in values.items():
    if not _is_number(value) or not fits(value):
      raise UserError(f'{name} is {_short(value)}: give {wish}.')


def _is_number(value):
  """Whether it is one, and one that can be computed with: neither NaN nor beyond `_LARGEST`."""
  return (isinstance(value, numbers.Real) and not isinstance(value, bool)
          and -_LARGEST <= value <= _LARGEST)


def _short(value):
  """As Python writes it, or its beginning: a number may have a thousand digits."""
  text = repr(value)
  return text if len(text) <= 40 else f'{text[:40]}..'
