"""The Colab notebook, executed whole in a fresh kernel on a small budget."""

import base64
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import nbformat
import pytest

from colab.store_outputs import NOTEBOOK, execute
from tests.support.paths import REPOSITORY

STEPS = 1520  # the warm-up and an episode

PNG = b'\x89PNG'
PICTURES = ('trajectory', 'gradient', 'attention')


def read():
  return nbformat.read(NOTEBOOK, as_version=4)


def source(name):
  cell, = (cell for cell in read().cells if cell.id == name)
  return cell.source


def test_is_valid_and_shows_what_its_cells_did():
  notebook = read()
  nbformat.validate(notebook)
  assert NOTEBOOK.stat().st_size < 1_000_000
  outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == 'code'}
  assert not any(output.output_type == 'error' for found in outputs.values() for output in found)
  for name in PICTURES:
    assert any('image/png' in output.get('data', {}) for output in outputs[name]), name
  assert str(REPOSITORY) not in NOTEBOOK.read_text()  # whose machine it was is nobody's business
  assert notebook.metadata.kernelspec.name == 'python3'
  assert 'colab' in notebook.metadata


@pytest.mark.slow
def test_runs_from_top_to_bottom(tmp_path):
  notebook = read()
  # TMPDIR keeps TensorBoard, which ends with the kernel, apart from others.
  execute(notebook, 500, TMPDIR=str(tmp_path), ASM_TF_STEPS=str(STEPS),
          ASM_TF_RUN=str(tmp_path / 'run'))
  printed, pictures = {}, {}
  for cell in notebook.cells:
    outputs = cell.get('outputs', [])
    assert not any(output.output_type == 'error' for output in outputs)
    printed[cell.id] = ''.join(output.text for output in outputs if output.output_type == 'stream')
    pictures[cell.id] = [base64.b64decode(output.data['image/png']) for output in outputs
                         if 'image/png' in output.get('data', {})]
  assert 'code: ..' in printed['settings']  # of the folder colab/
  assert 'nothing' in printed['install']
  assert re.search(f'score -?[0-9.]+ after {STEPS} steps', printed['train'])
  assert re.search('normalised score: -?[0-9.]+', printed['trajectory'])
  cosines = [float(text) for text in re.findall(r'cosine .*: (-?[0-9.]+)', printed['gradient'])]
  assert len(cosines) == 2
  assert max(cosines) > 0.5  # after ten updates of the model
  assert len(re.findall('layer [12]: share', printed['attention'])) == 2
  assert {name for name, found in pictures.items() if found} == set(PICTURES)
  assert all(data.startswith(PNG) and len(data) > 10_000
             for found in pictures.values() for data in found)
  window, = (cell.outputs for cell in notebook.cells if cell.id == 'tensorboard')
  assert 'tensorboard' in str(window).lower()
  assert 'Could not find' not in str(window)
  assert 'Failed to launch' not in str(window)


def get_code(folder, source_of_code):
  return subprocess.run(
      [sys.executable, '-c', source('settings')], cwd=folder, text=True, capture_output=True,
      check=False, env=os.environ | {'ASM_TF_REPOSITORY': source_of_code})


@pytest.mark.skipif(not shutil.which('git') or not (REPOSITORY / '.git').exists(),
                    reason='needs git and a checkout')
def test_outside_a_checkout_it_clones_one_or_asks_for_the_address(tmp_path):
  assert 'fill in the field REPOSITORY above' in get_code(tmp_path, '').stderr
  for _ in range(2):  # the second time it is there
    assert 'code: asm_tf' in get_code(tmp_path, str(REPOSITORY)).stdout
  assert (tmp_path / 'asm_tf/asm_tf/configurables.py').is_file()


@pytest.mark.parametrize('kind', ['zip', 'gztar'])
def test_an_archive_will_do(kind, tmp_path):
  code = tmp_path / 'code' / 'project-main' / 'asm_tf'
  code.mkdir(parents=True)
  (code / 'configurables.py').touch()
  place = tmp_path / 'elsewhere'
  place.mkdir()
  archive = shutil.make_archive(str(place / 'project'), kind, tmp_path / 'code')
  for _ in range(2):
    assert 'code: asm_tf/project-main' in get_code(place, archive).stdout


def test_an_archive_of_something_else_is_named(tmp_path):
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other' / 'file').touch()
  archive = shutil.make_archive(str(tmp_path / 'other'), 'zip', tmp_path / 'other')
  assert 'does not hold this project' in get_code(tmp_path, archive).stderr


@pytest.mark.parametrize(('absent', 'installed'), [
    ((), []),
    (('tf_agents', 'gin'), [['--no-deps', 'tf-agents==0.19.0', 'gin-config==0.5.0']]),
    (('tensorflow',), [['tensorflow==2.20.0']]),
])
def test_only_what_is_missing_is_installed(absent, installed, monkeypatch):
  calls = []
  find_spec = importlib.util.find_spec

  def find(name):
    if name in absent:  # a folder gin/ is in every checkout
      return importlib.machinery.ModuleSpec(name, None) if name == 'gin' else None
    return find_spec(name)

  monkeypatch.setattr(importlib.util, 'find_spec', find)
  names = {'importlib': importlib, 'os': os, 'pathlib': pathlib, 'sys': sys,
           'subprocess': types.SimpleNamespace(run=lambda words, check: calls.append(words))}
  exec(source('install'), names)
  assert [words[5:] for words in calls] == installed
  assert all(words[1:5] == ['-m', 'pip', 'install', '--quiet'] for words in calls)


def test_a_tpu_is_asked_for_only_where_there_is_one(monkeypatch):
  names = {'importlib': importlib, 'os': os, 'pathlib': pathlib, 'sys': sys}
  for kind in ('', 'v5e-1'):
    monkeypatch.setenv('TPU_ACCELERATOR_TYPE', kind)
    exec(source('install'), names)
    assert names['on_tpu'] == bool(kind)
  assert "device = '--tpu=local' if on_tpu else ''" in source('device')
  assert '{device}' in source('train')
