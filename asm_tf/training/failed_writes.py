"""A full disk, or another write that fails, said in one line."""

import contextlib
import errno
import os
import pathlib
import re

import tensorflow as tf

from asm_tf.errors import UserError

# What is over when there is space again.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# TensorFlow raises the same errors for much else; those of files hold the C library's words.
_WORDS = {os.strerror(number): number for number in (
    *_FULL, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR,
    errno.EISDIR, errno.EMFILE, errno.ENFILE, errno.ESTALE)}


@contextlib.contextmanager
def named(folder):
  """Makes a `UserError` of a write below `folder` that fails; other errors pass."""
  try:
    yield
  except (OSError, tf.errors.OpError) as error:
    failed = _path_and_number(error, folder)
    if failed is None:
      raise
    raise cannot_write(*failed, 'mend that, then go on with --resume.') from error


def is_one(error, folder):
  """Whether an exception is that of a write below `folder` that failed."""
  return _path_and_number(error, folder) is not None


@contextlib.contextmanager
def of(path):
  """Puts the path into an error of an open file, which has none."""
  try:
    yield
  except OSError as error:
    error.filename = error.filename or str(path)
    raise


def cannot_write(path, number, remedy):
  """The `UserError` of a path and an errno; `remedy` is for what more space does not mend."""
  if number in _FULL:
    remedy = 'free some space, then go on with --resume; what was saved is kept.'
  return UserError(f'cannot write {path} ({os.strerror(number)}): {remedy}')


def _path_and_number(error, folder):
  """The file below `folder` whose write failed, and its errno; None for any other exception."""
  if isinstance(error, OSError):
    # What an open file raises has no name: full is the disk, whatever was being written.
    path = error.filename or (folder if error.errno in _FULL else os.devnull)
    if not pathlib.Path(path).is_relative_to(folder) or error.errno not in _WORDS.values():
      return None
    return path, error.errno
  if isinstance(error, tf.errors.OpError):
    path = re.search(rf'{re.escape(str(folder))}[^;\s]*', error.message)
    number = next((_WORDS[words] for words in _WORDS if words in error.message), None)
    return (path[0], number) if path and number is not None else None
  return None
