"""Is every value of the configuration of the type that its parameter is annotated with?

Gin binds whatever can be written down; what is of another type would fail somewhere inside.
"""

import collections.abc
import inspect
import numbers
import types
import typing
from collections.abc import Iterator
from typing import Any

import gin

from asm_tf.errors import UserError

_MACRO = 'gin.macro'
_NUMBERS = {int: numbers.Integral, float: numbers.Real}
_LISTS = (collections.abc.Sequence, list, tuple)
_WORDS = {bool: 'True or False', int: 'a whole number', float: 'a number', str: 'a text in quotes',
          types.NoneType: 'None'}


def require_types() -> None:
  """Raises `UserError` for a binding whose value is of another type than its parameter."""
  for name, value, annotation in _bindings():
    if not _fits(value, annotation):
      raise UserError(f'{name} is {value!r}: give {_words(annotation)}{_meant(name, value)}.')


def _bindings() -> Iterator[tuple[str, Any, Any]]:
  """(name, value, annotation) of every binding; a macro's name and value where it is used."""
  for (scope, selector), values in gin.config._CONFIG.items():
    annotations = _annotations(gin.config._REGISTRY[selector].wrapped)
    for parameter, value in values.items():
      name = f'{scope}/' * bool(scope) + f'{selector.split(".")[-1]}.{parameter}'
      macros: list[str] = []
      while _is_reference(value) and value.configurable.selector == _MACRO:
        name = '/'.join(value.scopes)
        if name in macros:
          raise UserError(f'{name} is given by itself, %{name}: give a value.')
        macros.append(name)
        value = gin.config._CONFIG.get((name, _MACRO), {}).get('value')
      if not macros or (name, _MACRO) in gin.config._CONFIG:  # else gin says so
        yield name, value, annotations.get(parameter)


def _is_reference(value):
  return isinstance(value, gin.config.ConfigurableReference)


def _annotations(configurable):
  """{parameter: annotation}, with 'return' for what a function returns."""
  function = configurable.__init__ if inspect.isclass(configurable) else configurable
  signature = inspect.signature(function)
  return {'return': signature.return_annotation} | {
      name: parameter.annotation for name, parameter in signature.parameters.items()}


def _fits(value, annotation) -> bool:
  kind, parts = _taken_apart(annotation)
  if kind is types.UnionType:
    return any(_fits(value, part) for part in parts)
  if not _can_be_checked(kind):
    return True
  if _is_reference(value) and value.evaluate:
    made = _made(value.configurable.wrapped)
    return made is Any or issubclass(made, kind)
  if _is_reference(value):
    value = value.configurable.wrapped
  if kind in _NUMBERS:
    return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
  if kind is tuple and parts and parts[-1] is not Ellipsis:
    return isinstance(value, (list, tuple)) and len(value) == len(parts) and all(
        map(_fits, value, parts))
  if kind in _LISTS:
    return isinstance(value, (list, tuple)) and all(
        _fits(item, part) for item in value for part in parts[:1])
  if kind is collections.abc.Callable and callable(value):
    return not parts or any(_makes(value, part) for part in _members(parts[-1]))
  return isinstance(value, kind)


def _can_be_checked(kind):
  """Whether it is a class of values; a protocol has no instances that could be told."""
  return (inspect.isclass(kind) and kind not in (Any, inspect.Parameter.empty)
          and not getattr(kind, '_is_protocol', False))


def _makes(function, annotation):
  """Whether a class, or what a function returns, may be of a type."""
  made, kind = _made(function), _taken_apart(annotation)[0]
  return made is Any or not _can_be_checked(kind) or issubclass(made, kind)


def _made(function):
  """The class of what is made by calling a class or a function; Any where that is not known."""
  made = function if inspect.isclass(function) else _annotations(function).get('return')
  made = _taken_apart(made)[0]
  return made if _can_be_checked(made) else Any


def _taken_apart(annotation):
  """An annotation without its brackets, and what is in them; a union is a `types.UnionType`."""
  kind, parts = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
  return types.UnionType if kind is typing.Union else kind, parts


def _members(annotation):
  kind, parts = _taken_apart(annotation)
  return parts if kind is types.UnionType else (annotation,)


def _words(annotation):
  """What to give, in words."""
  kind, parts = _taken_apart(annotation)
  if kind is types.UnionType:
    return ' or '.join(map(_words, parts))
  if kind is collections.abc.Callable:
    members = [_taken_apart(member)[0] for member in _members(parts[-1])] if parts else []
    names = [member.__name__ for member in members if _can_be_checked(member)]
    return f'@NAME{" of a " * bool(names)}{" or a ".join(names)}'
  if kind is collections.abc.Sequence:
    return 'a list of sizes, such as (64,)' if parts[:1] == (int,) else 'a list'
  return _WORDS.get(kind, f'a {kind.__name__}')


def _meant(name, value):
  named = isinstance(value, str) and gin.config._REGISTRY.get_all_matches(value)
  return f'; {name}=@{value} is meant' if named else ''
