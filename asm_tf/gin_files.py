"""Where the configurations are: in gin/ of the checkout or, installed, of this package."""

import pathlib

# The folder from which `python -m launch.main` can be run.
BASE = pathlib.Path(__file__).resolve().parents[1]
# The folder that holds gin/.
ROOT = BASE if (BASE / 'gin' / 'myriad_lstm.gin').is_file() else BASE / 'asm_tf'


def parts_of(binding: str) -> tuple[str, str]:
  """Returns a binding's name, without modules, and its value as text ('' for an import)."""
  name, _, value = binding.partition('=')
  return '.'.join(name.strip().split('.')[-2:]), value.strip()


def find(file: str | pathlib.Path) -> pathlib.Path | None:
  """Returns the path of a gin file, which the working directory may hold, or None."""
  return next((path for path in (pathlib.Path(file), ROOT / file) if path.is_file()), None)
