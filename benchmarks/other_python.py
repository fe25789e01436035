"""Another Python, whose packages a benchmark runs beside ours."""

import subprocess

from asm_tf.errors import UserError


def versions(python: str, *packages: str) -> dict[str, str]:
  """Returns {package: version}; `UserError` where the Python is not there, or lacks one of them."""
  ask = f'import importlib.metadata as m; print(*(m.version(name) for name in {packages}))'
  try:
    done = subprocess.run([python, '-c', ask], text=True, capture_output=True, check=True)
  except (OSError, subprocess.CalledProcessError) as error:
    raise UserError(f'--jax_python={python} has no {" and ".join(packages)}: make an environment '
                    'of their own, as the top of the benchmark\'s file says.') from error
  return dict(zip(packages, done.stdout.split(), strict=True))


def last_line(said: str) -> str:
  """Returns the last line of what a process said, '' where it said nothing."""
  return said.strip().split('\n')[-1]
