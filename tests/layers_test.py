"""The layering of WORKSPACE.md, held by walking the imports."""

import ast

import pytest

from tests.support.paths import REPOSITORY

MODULES = sorted((REPOSITORY / 'asm_tf').rglob('*.py'))

# Lowest first; a layer may use itself and every layer below it.
ORDER = ('quiet', '', 'errors', 'atomic_files', 'usable_numbers', 'cores', 'gin_files', 'memory',
         'random_streams', 'systems', 'models', 'policies',
         'gradients', 'environments', 'replay', 'agents', 'training', 'experiments',
         'configurables')
# Beside the order: what these may use, and which layers may use these.
ASIDE = {'plots': ('errors', 'systems'), 'optimal_control': ('errors', 'systems')}
USES_ASIDE = ('training', 'experiments', 'configurables')

every_module = pytest.mark.parametrize(
    'path', MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))


def layer(dotted):
  """'asm_tf.models.lstm' -> 'models'; '' for the package's front door."""
  return (dotted.split('.') + [''])[1]


def may_use(importer, imported):
  if importer == imported:
    return True
  if importer in ASIDE:
    return imported in ASIDE[importer]
  if imported in ASIDE:
    return importer in USES_ASIDE
  return ORDER.index(imported) < ORDER.index(importer)


def imports(tree):
  """(module, name or None) of every import, those inside functions included."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((alias.name, None) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (('.' * node.level + (node.module or ''), alias.name) for alias in node.names)


def violations(dotted, source):
  """What a module does against the layering, in words."""
  tree = ast.parse(source)
  ours = {}  # local name -> imported name
  for module, name in imports(tree):
    if module == '__future__':
      yield 'imports from __future__'
    if module.startswith('.'):
      yield f'imports {module} relatively'
    if module.split('.')[0] == 'launch':
      yield f'imports {module}, a command line'
    if module.split('.')[0] != 'asm_tf':
      continue
    imported = layer(module) or (layer(f'asm_tf.{name}') if name else '')
    if not may_use(layer(dotted), imported):
      yield f'imports {module}, which is not below it'
    if name is not None and name.startswith('_'):
      yield f'imports the private {name} of {module}'
    ours[name or module] = module
  for node in ast.walk(tree):
    if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        and node.value.id in ours and node.attr.startswith('_')
        and not node.attr.startswith('__')):
      yield f'uses the private {node.attr} of {node.value.id}'


@every_module
def test_imports_run_one_way(path):
  dotted = '.'.join(path.relative_to(REPOSITORY).with_suffix('').parts).removesuffix('.__init__')
  assert not list(violations(dotted, path.read_text()))


@every_module
def test_has_a_docstring_and_fits_its_size(path):
  source = path.read_text()
  if source or path.name != '__init__.py':
    assert ast.get_docstring(ast.parse(source)), 'no module docstring'
  assert len(source.splitlines()) <= 300


@pytest.mark.parametrize(('module', 'source'), [
    ('asm_tf.systems.system', 'from asm_tf.models import lstm'),
    ('asm_tf.models.lstm', 'def f():\n  import asm_tf.gradients.policy_gradient'),
    ('asm_tf.training.train', 'from launch import main'),
    ('asm_tf.training.train', 'from asm_tf.training.trainer import _CHUNK'),
    ('asm_tf.training.train', 'from asm_tf.training import trainer\ntrainer._CHUNK'),
    ('asm_tf.plots.style', 'from asm_tf.training.trainer import Trainer'),
    ('asm_tf.models.lstm', 'from asm_tf import training'),
    ('asm_tf.models.lstm', 'from . import normalizer'),
    ('asm_tf.models.lstm', 'from __future__ import annotations'),
])
def test_the_check_finds_what_it_looks_for(module, source):
  assert list(violations(module, source))
