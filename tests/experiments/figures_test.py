"""The figures: each by one command, from cells that are run once and kept."""

import fcntl
import json
import math
import threading
import time

import gin
import numpy as np
import pytest
import tensorflow as tf

from asm_tf import configurables  # noqa: F401  what gin knows
from asm_tf.errors import UserError
from asm_tf.experiments import training_runs
from asm_tf.experiments.cells import run_cells
from asm_tf.experiments.double_pendulum import run as double_pendulum_run
from asm_tf.experiments.gradient_accuracy import run as gradient_accuracy_run
from asm_tf.experiments.one_bounce import run as one_bounce_run
from asm_tf.experiments.statistics import label
from asm_tf.experiments.theory.analysis import fits
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.one_bounce import OneBounce
from asm_tf.systems.rollout import simulate
from asm_tf.training import origin
from launch import command_line, figure
from tests.support.paths import REPOSITORY

CELLS = [{'model': model, 'seed': seed} for seed in range(2) for model in 'ab']


pytestmark = pytest.mark.usefixtures('fresh_gin')


def run(cell):
  return [{'updates': updates, 'value': cell['seed'] + updates} for updates in (1, 2)]


def fail(cell):
  raise AssertionError(f'{cell} is run again')


def test_cells_are_run_once(tmp_path):
  rows = run_cells(tmp_path, CELLS, run)
  assert [(row['model'], row['seed'], row['value']) for row in rows] == [
      ('a', 0, 1), ('a', 0, 2), ('b', 0, 1), ('b', 0, 2),
      ('a', 1, 2), ('a', 1, 3), ('b', 1, 2), ('b', 1, 3)]
  assert all(row['wall_seconds'] >= 0 and row['versions']['tensorflow']
             and row['command'] == origin.command() for row in rows)
  assert run_cells(tmp_path, CELLS, fail) == rows


def test_a_cell_that_stops_half_way_is_run_again_and_no_other(tmp_path):
  calls = []

  def stop_at_third(cell):
    calls.append(cell)
    if len(calls) == 3:
      raise KeyboardInterrupt
    return run(cell)

  with pytest.raises(KeyboardInterrupt):
    run_cells(tmp_path, CELLS, stop_at_third)
  assert len(run_cells(tmp_path, CELLS, stop_at_third)) == 8
  assert calls == CELLS[:3] + CELLS[2:]


@pytest.mark.parametrize('finishes', [True, False])
def test_a_cell_that_another_process_runs_is_waited_for(finishes, tmp_path):
  """It is taken over if the other ends without it."""
  run_cells(tmp_path, CELLS[:1], run)
  lock = (tmp_path / 'cells' / 'b-0.lock').open('w')
  fcntl.flock(lock, fcntl.LOCK_EX)
  order, is_reached = [], threading.Event()

  def other():
    is_reached.wait()
    time.sleep(0.1)  # until the last of mine is written
    order.append('other')
    if finishes:
      (tmp_path / 'cells' / 'b-0.jsonl').write_text('{"value": 7}\n')
    lock.close()

  def mine(cell):
    order.append(cell['model'] + str(cell['seed']))
    if order[-1] == 'b1':
      is_reached.set()
    return run(cell)

  thread = threading.Thread(target=other)
  thread.start()
  rows = run_cells(tmp_path, CELLS, mine)
  thread.join()
  assert order == ['a1', 'b1', 'other'] + ([] if finishes else ['b0'])
  assert rows[2]['value'] == (7 if finishes else 1)


def test_what_is_not_finite_is_null(tmp_path):
  row, = run_cells(tmp_path, CELLS[:1], lambda cell: [{
      'loss': float('nan'), 'norm': float('inf'), 'returns': [1.0, float('nan')]}])
  assert (row['loss'], row['norm'], row['returns']) == (None, None, [1.0, None])


def test_another_configuration_is_refused(tmp_path):
  run_cells(tmp_path, CELLS, run)
  gin.external_configurable(run, name='some_experiment')
  gin.bind_parameter('some_experiment.cell', 1)
  with pytest.raises(UserError, match='another configuration'):
    run_cells(tmp_path, CELLS, run)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write'):
    run_cells(tmp_path / 'file', CELLS, run)


@pytest.mark.parametrize('file', ['gin/myriad_lstm.gin', 'gin/sweeps/smoke.gin'])
def test_a_file_that_is_no_figure_is_refused(file, tmp_path):
  with pytest.raises(UserError, match='give a file of gin/figures/'):
    figure.run([file], out=tmp_path)


def smoke(name, out):
  """The rows and the table of a figure's smoke preset."""
  figure.run([f'gin/figures/{name}.gin'], preset='smoke', out=out)
  return [json.loads(line) for line in (out / 'rows.jsonl').read_text().splitlines()], (
      out / 'table.md').read_text()


def assert_pictures(out, names):
  assert {path.name for path in out.glob('*.png')} == {f'{name}.png' for name in names}
  assert all(path.read_bytes().startswith(b'\x89PNG') for path in out.glob('*.png'))


@pytest.mark.parametrize(('name', 'column'), [
    ('one_bounce', 'rms_error'), ('theory', 'log_gradient_norm'),
    pytest.param('gradient_accuracy', 'cosine', marks=pytest.mark.slow),
    pytest.param('double_pendulum', 'log10_mean_norm', marks=pytest.mark.slow)])
def test_smoke(name, column, tmp_path, capsys):
  rows, table = smoke(name, tmp_path)
  assert table in capsys.readouterr().out
  assert all(math.isfinite(row[column]) and row['command'] for row in rows)
  assert all(f'| {row["model"]} |' in table for row in rows)
  assert_pictures(tmp_path, ['figure'])


class Still(SequenceModel):
  """s_{t+1} = s_t."""

  def start(self, initial_state, horizon):
    return initial_state

  def step(self, carry, action, t):
    return carry, carry


@pytest.mark.parametrize(('make', 'lowest', 'highest'), [
    (TrueDynamics, 0, 1e-4), (lambda system: Still(), 0.5, 1.5)])
def test_gradients_are_measured_against_the_simulators(make, lowest, highest, monkeypatch):
  def fitted(system, model, data, settings, measure):
    return None, [measure(make(system))]

  monkeypatch.setattr(gradient_accuracy_run, 'fitted_model', fitted)
  row, = gradient_accuracy_run.run(
      {'model': 'x', 'horizon': 5, 'seed': 0, 'num_updates': 1, 'batch_size': 1}, {'x': None})
  assert lowest <= row['relative_error'] <= highest


def test_the_error_after_the_bounce(monkeypatch):
  monkeypatch.setattr(
      one_bounce_run, 'fitted_model', lambda *_: (Still(), [{'model_loss': 0.0}]))
  row, = one_bounce_run.run(
      {'model': 'x', 'horizon': 20, 'seed': 0, 'num_updates': 1, 'batch_size': 1}, {'x': None})
  actions = np.zeros([len(row['values']), 20, 1], np.float32)
  actions[:, 0, 0] = row['values']
  true, still = (np.sum(rewards, 1) for rewards in (
      simulate(OneBounce(20), tf.constant(actions))[1],
      OneBounce(20).reward(tf.repeat(OneBounce(20).initial_state(len(actions))[:, None], 20, 1),
                           tf.constant(actions), tf.range(20))))
  np.testing.assert_allclose(row['rms_error'], np.sqrt(np.mean((still - true)**2)), rtol=1e-4)


def test_the_logarithm_of_a_mean():
  assert double_pendulum_run.log10_mean(np.array([1.0, 3.0])) == pytest.approx(np.log10(505))


@pytest.mark.slow
def test_smoke_of_the_attention(tmp_path):
  rows, table = smoke('attention', tmp_path)
  assert [row['layer'] for row in rows] == [1, 2]
  for row in rows:
    weights = np.array(row['map'])
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-4)
    np.testing.assert_array_equal(weights, np.tril(weights))
    np.testing.assert_allclose(
        np.mean(row['shares_of_first_action']), weights[1:, 0].mean(), atol=1e-4)
  assert table.count('\n') == 4
  assert_pictures(tmp_path, ['figure'])


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'pictures'), [
    ('sample_efficiency', ['curves', 'profiles', 'systems']),
    ('horizons', ['curves', 'profiles', 'systems', 'horizons']),
    ('learned_reward', ['curves', 'profiles', 'systems']),
    ('decision_transformer', ['curves', 'profiles', 'systems']),
    ('double_pendulum_policies', ['curves', 'profiles', 'systems'])])
def test_smoke_of_training_runs(name, pictures, tmp_path):
  rows, table = smoke(name, tmp_path)
  for row in rows:  # what all models share is not in their names there
    short = label(row | {'model': row['model'].rpartition('+models/')[2]})
    assert f'| {short} |' in table
  assert all(row['env_steps'][-1] >= row['num_env_steps'] for row in rows)
  assert_pictures(tmp_path, pictures)


@pytest.mark.parametrize('preset', figure.PRESETS)
@pytest.mark.parametrize('name', [
    path.stem for path in sorted((REPOSITORY / 'gin/figures').glob('*.gin'))
    if "include 'gin/figures/training.gin'" in path.read_text()])
def test_every_grid_of_training_runs_can_be_run(name, preset):
  command_line.parse_gin([f'gin/figures/{name}.gin'], [])
  cells = gin.get_configurable('preset_cells')(preset)
  words = [training_runs.arguments('runs', cell) for cell in cells]
  assert cells
  assert len(set(map(tuple, words))) == len(cells)


def test_the_fits_of_the_theory_find_a_rate_and_an_exponent():
  horizons = np.array([10, 20, 50, 100])
  rate, by_rate, _, by_exponent = fits(horizons, 3 + 0.2 * horizons)
  np.testing.assert_allclose([rate, by_rate], [0.2, 1], rtol=1e-9)
  assert by_exponent < 0.95
  _, by_rate, exponent, by_exponent = fits(horizons, 1 + 2.5 * np.log(horizons))
  np.testing.assert_allclose([exponent, by_exponent], [2.5, 1], rtol=1e-9)
  assert by_rate < 0.95
