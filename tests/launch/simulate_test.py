"""launch.simulate: what it writes, and what it says when the input is at fault."""

import json
import subprocess
import sys

import numpy as np
import pytest

from asm_tf.environments import scores
from asm_tf.errors import UserError
from launch import simulate
from tests.support.paths import REPOSITORY


def run(system='CancerTreatment', horizon=20, actions='random', **values):
  return simulate.run(system, horizon, actions, **values)


def test_optimal_scores_one_and_draws(tmp_path, capsys):
  out = tmp_path / 'run.json'
  run(actions='optimal', out=str(out))
  result = json.loads(out.read_text())
  assert np.shape(result['states']) == (21, 1)
  assert np.shape(result['rewards']) == (20,)
  assert np.shape(result['gradient']) == (20, 1)
  assert result['return'] == pytest.approx(scores.reference('CancerTreatment', 20).optimal)
  assert 'normalised score: 1.0000' in capsys.readouterr().out
  assert (tmp_path / 'run.png').read_bytes().startswith(b'\x89PNG')


def test_output_is_input_again(tmp_path):
  first, second = tmp_path / 'a.json', tmp_path / 'b.json'
  run(system='InvasivePlant', actions='random', seed=3, out=str(first))
  run(system='InvasivePlant', actions=str(first), out=str(second))
  assert json.loads(first.read_text()) == json.loads(second.read_text())


def test_number_and_float32(tmp_path, capsys):
  run(system='HIVTreatment', horizon=7, actions='-0.5', dtype='float32',
      plot=str(tmp_path / 'x.png'))
  assert 'normalised score: unknown' in capsys.readouterr().out
  assert (tmp_path / 'x.png').exists()


@pytest.mark.parametrize(('content', 'message'), [
    ('[[0.1], [0.2', 'is not JSON'),
    ('{"controls": []}', 'no key "actions"'),
    ('[["a"]]', 'not a table of numbers'),
    ('[[0.1], [0.1, 0.2]]', 'not a table of numbers'),
    (json.dumps([[0.1]] * 19), r'shape \[19, 1\]'),
    (json.dumps([0.1] * 20), r'shape \[20\]'),
    (json.dumps([[0.1]] * 19 + [[1.5]]), r'outside \[-1, 1\]'),
    (json.dumps([[0.1]] * 19 + [[float('nan')]]), 'NaN'),
])
def test_bad_files(tmp_path, content, message):
  source, out = tmp_path / 'in.json', tmp_path / 'out.json'
  source.write_text(content)
  out.write_text('kept')
  with pytest.raises(UserError, match=message):
    run(actions=str(source), out=str(out))
  assert out.read_text() == 'kept'


@pytest.mark.parametrize(('values', 'message'), [
    ({'system': 'Cancer'}, 'CancerTreatment, Bioreactor'),
    ({'horizon': 1}, 'at least 2'),
    ({'actions': 'missing.json'}, 'can not be read'),
    ({'actions': '2'}, r'outside \[-1, 1\]'),
    ({'actions': 'nan'}, 'NaN'),
    ({'actions': 'optimal', 'horizon': 7}, 'launch.solve'),
    ({'actions': 'random', 'out': '/no/such/place/x.json'}, 'no directory'),
    ({'actions': 'random', 'out': '/tmp'}, 'is a directory'),
])
def test_bad_flags(values, message):
  with pytest.raises(UserError, match=message):
    run(**values)


def test_exit_code_and_one_line_on_stderr(tmp_path):
  command = [sys.executable, '-m', 'launch.simulate', '--system=Cancer']
  done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
  assert done.returncode == 2
  errors = [line for line in done.stderr.splitlines() if line.startswith('error:')]
  assert len(errors) == 1
  assert 'CancerTreatment' in errors[0]
  assert 'Traceback' not in done.stderr
