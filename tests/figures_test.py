"""The figures: each by one command, from cells that are run once and kept."""

import fcntl
import json
import math
import threading

import gin
import pytest

from asm_tf.errors import UserError
from asm_tf.experiments.cells import run_cells
from launch import figure

CELLS = [{'model': model, 'seed': seed} for seed in range(2) for model in 'ab']


pytestmark = pytest.mark.usefixtures('fresh_gin')


def run(cell):
  return [{'updates': updates, 'value': cell['seed'] + updates} for updates in (1, 2)]


def fail(cell):
  raise AssertionError(f'{cell} is run again')


def test_cells_are_run_once(tmp_path):
  rows = run_cells(tmp_path, CELLS, run, 'the command')
  assert [(row['model'], row['seed'], row['value']) for row in rows] == [
      ('a', 0, 1), ('a', 0, 2), ('b', 0, 1), ('b', 0, 2),
      ('a', 1, 2), ('a', 1, 3), ('b', 1, 2), ('b', 1, 3)]
  assert all(row['wall_seconds'] >= 0 and row['versions']['tensorflow']
             and row['command'] == 'the command' for row in rows)
  assert run_cells(tmp_path, CELLS, fail, 'another') == rows


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
  lock = open(tmp_path / 'cells' / 'b-0.lock', 'w')
  fcntl.flock(lock, fcntl.LOCK_EX)
  order = []

  def other():
    order.append('other')
    if finishes:
      (tmp_path / 'cells' / 'b-0.jsonl').write_text('{"value": 7}\n')
    lock.close()

  def mine(cell):
    order.append(cell['model'] + str(cell['seed']))
    return run(cell)

  timer = threading.Timer(0.3, other)
  timer.start()
  rows = run_cells(tmp_path, CELLS, mine)
  timer.join()
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


@pytest.mark.parametrize('name, column', [
    ('gradient_accuracy', 'cosine'), ('double_pendulum', 'log10_mean_norm'),
    ('one_bounce', 'rms_error')])
def test_smoke(name, column, tmp_path, capsys):
  out = tmp_path / name
  figure.run([f'gin/figures/{name}.gin'], preset='smoke', out=out)
  table = (out / 'table.md').read_text()
  assert table in capsys.readouterr().out
  rows = [json.loads(line) for line in (out / 'rows.jsonl').read_text().splitlines()]
  assert all(math.isfinite(row[column]) and row['command'] for row in rows)
  assert all(f'| {row["model"]} |' in table for row in rows)
  assert (out / 'figure.png').read_bytes().startswith(b'\x89PNG')
