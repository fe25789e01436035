"""Stopping a run between two iterations, so that it can be saved."""

import os
import signal


class Stopped(Exception):
  """A signal asked the run to stop, and it was saved.

  Attributes:
    exit_code: 128 + the signal's number, as shells have it.
  """

  def __init__(self, signal_number: int):
    super().__init__()
    self.exit_code = 128 + signal_number


class StopSignal:
  """A context that remembers SIGTERM or Ctrl-C.

  Attributes:
    signal_number: of the last signal; 0 before any.
  """

  def __init__(self):
    self.signal_number = 0
    self._previous = {}

  def __enter__(self):
    for number in (signal.SIGTERM, signal.SIGINT):
      self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _handle(self, number, _):
    os.write(2, b'\nstopping: the run is saved after this round of updates.\n')  # printing may wait
    self.signal_number = number
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C is final
