"""The figures: each by one command, from cells that are run once and kept."""

import fcntl
import json

import gin
import pytest

from asm_tf.errors import UserError
from asm_tf.experiments.cells import run_cells
from launch import figure

CELLS = [{'model': model, 'seed': seed} for seed in range(2) for model in 'ab']


@pytest.fixture(autouse=True)
def no_configuration_is_left():
  gin.clear_config()
  yield
  gin.clear_config()


def run(cell):
  return [{'updates': updates, 'value': cell['seed'] + updates} for updates in (1, 2)]


def fail(cell):
  raise AssertionError(f'{cell} is run again')


def test_cells_are_run_once(tmp_path):
  rows, running = run_cells(tmp_path, CELLS, run)
  assert running == 0
  assert [(row['model'], row['seed'], row['value']) for row in rows] == [
      ('a', 0, 1), ('a', 0, 2), ('b', 0, 1), ('b', 0, 2),
      ('a', 1, 2), ('a', 1, 3), ('b', 1, 2), ('b', 1, 3)]
  assert all(row['wall_seconds'] >= 0 and row['versions']['tensorflow'] for row in rows)
  assert run_cells(tmp_path, CELLS, fail) == (rows, 0)


def test_a_cell_that_stops_half_way_is_run_again_and_no_other(tmp_path):
  calls = []

  def stop_at_third(cell):
    calls.append(cell)
    if len(calls) == 3:
      raise KeyboardInterrupt
    return run(cell)

  with pytest.raises(KeyboardInterrupt):
    run_cells(tmp_path, CELLS, stop_at_third)
  rows, _ = run_cells(tmp_path, CELLS, stop_at_third)
  assert calls == CELLS[:3] + CELLS[2:] and len(rows) == 8


def test_a_cell_that_another_process_runs_is_left_to_it(tmp_path):
  run_cells(tmp_path, CELLS[:1], run)
  with open(tmp_path / 'cells' / 'b-0.lock', 'w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    rows, running = run_cells(tmp_path, CELLS[:2], fail)
  assert running == 1 and len(rows) == 2


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
  assert all(isinstance(row[column], float) for row in rows)
  assert all(f'| {row["model"]} |' in table for row in rows)
  assert (out / 'figure.png').read_bytes().startswith(b'\x89PNG')
