"""The one exception that means "the user's input is at fault"."""


class UserError(Exception):
  """Bad input. The message is one line: the cause, then the remedy.

  `launch/` prints it to stderr without a traceback and exits with code 2.
  """
