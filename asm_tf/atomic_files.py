"""Files that are written completely or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Callable


def write_in_one_step(path: str | pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
  """Writes a file so that a kill, a full disk or a power failure leaves the old one intact.

  Args:
    path: of the file.
    write: function (path of a draft), which writes it.

  Raises:
    OSError: with the path of the file, also where it is the draft or an open file that fails.
  """
  path = pathlib.Path(path)
  # Another process may be writing the same file. The suffix stays: it may say what is written.
  draft = path.with_name(f'{path.stem}.{os.getpid()}.part{path.suffix}')
  try:
    write(draft)
    with draft.open('rb') as file:
      os.fsync(file.fileno())
    os.replace(draft, path)
  except OSError as error:
    error.filename = str(path)
    raise
  finally:
    with contextlib.suppress(OSError):  # it is there only where something failed
      draft.unlink()


def write_text(path: str | pathlib.Path, text: str) -> None:
  """Writes a text file in one step; raises as `write_in_one_step` does."""
  write_in_one_step(path, lambda draft: draft.write_text(text, encoding='utf-8'))
