"""What somebody meant whose binding gin cannot read."""

import difflib
import inspect
import re

import gin

from asm_tf import gin_files
from launch.renamed_bindings import RENAMED


def hint(message: str, bindings: tuple[str, ...] = ()) -> str:
  """Returns a sentence, with a space at its end, on what an error of gin's may be about; or ''.

  Args:
    message: of gin's error.
    bindings: that were being read.
  """
  if found := re.search(r"Failed to parse token '([\w.-]+)'", message):
    return _unquoted(found[1], bindings)
  if found := re.search(r"No configurable matching (?:reference )?'(@?)(?:.*/)?([\w.]+)(?:\(\))?'",
                        message):
    near = [found[1] + name for name in _near(found[2].split('.')[-1], _configurables())]
    return f'{_choice(near)} ' if near else ''
  if found := re.search(r"Configurable '((?:\w+\.)*?(?:\w+))' doesn't have a parameter named "
                        r"'(\w+)'", message):
    return _unknown_parameter(*found.groups())
  if found := re.search(r"to configurable 'macro' .*in scope '(\w+)'", message):
    return f'Nothing sets {found[1]}: give --gin_bindings={found[1]}=VALUE. '
  if found := re.search(r"missing 1 required positional argument: .* to configurable '(\w+)'",
                        message):
    return f'@{found[1]} is meant, without brackets: who uses it calls it. '
  if 'Expected newline' in message or "expected ':' or '='" in message:
    return "A binding is NAME=VALUE, where a text has quotes: ENVIRONMENT='Pendulum-v1'. "
  return ''


def _unquoted(token, bindings):
  name, value = 'NAME', token
  for binding in bindings:
    left, right = gin_files.parts_of(binding)
    if token in right and not re.search(rf"""['"].*{re.escape(token)}""", right):
      name, value = left, right
  if token in _configurables():
    return f'{name}=@{token} is meant: a class or function begins with @. '
  near = _near(token, _configurables())
  meant = f"{name}='{value}' is meant, a text in quotes"
  return f'{meant}, or {name}=@{near[0]}. ' if near else f'{meant}. '


def _unknown_parameter(configurable, parameter):
  name = f'{configurable.split(".")[-1]}.{parameter}'
  if name in RENAMED:
    return f'{name} is {RENAMED[name]} now. '
  try:
    found = gin.config._REGISTRY.get_match(configurable)
    given = found.denylist or ()
    names = [name for name in inspect.signature(found.wrapped).parameters if name not in given]
  except (AttributeError, KeyError, TypeError, ValueError):
    return ''
  near = _near(parameter, names)
  return f'{_choice(near)} ' if near else f'It has {", ".join(names)}. '


def _configurables():
  return {selector.split('.')[-1] for selector, _ in gin.config._REGISTRY.items()}


def _near(word, words):
  return difflib.get_close_matches(word, sorted(words), n=3, cutoff=0.7)


def _choice(words):
  return f'Is {" or ".join(words)} meant?'
