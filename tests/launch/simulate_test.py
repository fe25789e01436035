"""launch.simulate: what it writes."""

import json

import numpy as np
import pytest

from asm_tf.environments import scores
from asm_tf.errors import UserError
from launch import simulate


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
  with pytest.raises(UserError, match='is of InvasivePlant, not of Harvest'):
    run(system='Harvest', actions=str(first))


def test_number_and_float32(tmp_path, capsys):
  run(system='HIVTreatment', horizon=7, actions='-0.5', dtype='float32',
      plot=str(tmp_path / 'x.png'))
  assert 'normalised score: unknown' in capsys.readouterr().out
  assert (tmp_path / 'x.png').exists()
