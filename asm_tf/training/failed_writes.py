"""Full disks and other failed writes, reported in one line."""

import contextlib
import errno
import os
import pathlib
import re
from collections.abc import Iterator

import tensorflow as tf

from asm_tf.errors import UserError

# Failures that end when there is space again.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# TensorFlow raises the same errors for much else; those of files quote the C library.
_WORDS = {os.strerror(number): number for number in (
    *_FULL, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR,
    errno.EISDIR, errno.EMFILE, errno.ENFILE, errno.ESTALE)}


@contextlib.contextmanager
def reported(folder: pathlib.Path) -> Iterator[None]:
  """A context that turns a failed write below `folder` into a `UserError`."""
  try:
    yield
  except (OSError, tf.errors.OpError) as error:
    failed = _path_and_number(error, folder)
    if failed is None:
      raise
    path, number = failed
    raise cannot_write(path, number, 'mend that, then go on with --resume.') from error


def is_failed_write(error: Exception, folder: pathlib.Path) -> bool:
  """Returns whether an exception is that of a failed write below `folder`."""
  return _path_and_number(error, folder) is not None


@contextlib.contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
  """A context that adds the path to an error of an open file, which has none."""
  try:
    yield
  except OSError as error:
    error.filename = error.filename or str(path)
    raise


def cannot_write(path: str | pathlib.Path, number: int, remedy: str) -> UserError:
  """Returns the error for a path and an errno; `remedy` applies where space does not help."""
  if number in _FULL:
    remedy = 'free some space, then go on with --resume; what was saved is kept.'
  return UserError(f'cannot write {path} ({os.strerror(number)}): {remedy}')


def _path_and_number(error, folder):
  """The file below `folder` whose write failed, and its errno; None for any other exception."""
  if isinstance(error, OSError):
    # An error of an open file has no name; a full disk concerns every file.
    path = error.filename or (folder if error.errno in _FULL else os.devnull)
    if not pathlib.Path(path).is_relative_to(folder) or error.errno not in _WORDS.values():
      return None
    return path, error.errno
  if isinstance(error, tf.errors.OpError):
    path = re.search(rf'{re.escape(str(folder))}[^;\s]*', error.message)
    number = next((_WORDS[words] for words in _WORDS if words in error.message), None)
    return (path[0], number) if path and number is not None else None
  return None
