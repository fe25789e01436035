"""Sweeps and reports: every cell once, whatever is killed; the same table every time."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import gin
import numpy as np
import pytest
from rliable import metrics

from asm_tf import configurables  # noqa: F401  what gin knows
from asm_tf.errors import FailedRuns, UserError
from asm_tf.experiments import found_runs, report, statistics, sweep, training_runs
from asm_tf.experiments.cells import locked
from asm_tf.experiments.sweep import run_sweep
from asm_tf.experiments.training_runs import preset_cells, training_cells
from launch import command_line
from launch import figure as launch_figure
from launch import report as launch_report
from launch import sweep as launch_sweep
from tests.support.paths import REPOSITORY

GRID = {'models': ['myriad_random_search'], 'systems': ['CancerTreatment'], 'horizons': [20],
            'num_env_steps': 60, 'num_seeds': 1}


def row(model='lstm', system='Harvest', horizon=20, seed=0, scores=(0.0, 1.0), variation=''):
  steps = list(range(len(scores)))
  return {'model': f'myriad_{model}', 'system': system, 'horizon': horizon, 'seed': seed,
          'variation': variation, 'env_steps': steps, 'updates': steps, 'wall_seconds': steps,
          'return': list(scores), 'normalised_score': list(scores)}


# The grid.


def test_a_grid_has_every_combination_once():
  cells = training_cells(['myriad_lstm', 'myriad_sac'], ['Harvest', 'Bacteria'], [20, 50], 100, 2,
                         {'LEARNING_RATE': [0.1, 0.2], 'ENTROPY': [1]})
  assert len({training_runs.folder_of('', cell) for cell in cells}) == len(cells) == 2 ** 5
  assert {cell['variation'] for cell in cells} == {
      'LEARNING_RATE=0.1 ENTROPY=1', 'LEARNING_RATE=0.2 ENTROPY=1'}
  assert [cell['seed'] for cell in cells] == 16 * [0] + 16 * [1]


def test_the_arguments_are_those_of_launch_main():
  cell, = training_cells(['credit_assignment+models/lstm+agents/learned_reward'],
                         ['ToyCreditAssignment'], [30], 100, 1, {'LEARNING_RATE': [0.1]})
  folder = ('runs/credit_assignment+models.lstm+agents.learned_reward-ToyCreditAssignment-30-'
            'LEARNING_RATE=0.1-0')
  assert training_runs.arguments('runs', cell) == [
      '-m', 'launch.main', '--gin_file=gin/credit_assignment.gin', '--gin_file=gin/models/lstm.gin',
      '--gin_file=gin/agents/learned_reward.gin', '--gin_bindings=SYSTEM=@ToyCreditAssignment',
      '--gin_bindings=HORIZON=30', '--gin_bindings=NUM_ENV_STEPS=100',
      '--gin_bindings=LEARNING_RATE=0.1', '--seed=0', f'--root_dir={folder}', '--resume']


@pytest.mark.parametrize(('changes', 'message'), [
    ({'systems': []}, 'systems is .*: give a list of one or more'),
    ({'models': ['myriad_lstm', 'myriad_lstm']}, "models has 'myriad_lstm' twice"),
    ({'variations': {'TrainingLoop.num_env_steps': [20]}}, 'is not varied but given'),
    ({'variations': {'GymnasiumSystem.environment': ['Hopper-v5']}}, 'is not varied but given')])
def test_a_grid_that_cannot_be_meant_is_refused(changes, message):
  grid = {'models': ['myriad_lstm'], 'systems': ['CancerTreatment'], 'horizons': [20],
          'num_env_steps': 100, 'num_seeds': 1}
  with pytest.raises(UserError, match=message):
    training_cells(**(grid | changes))


def test_what_bindings_set_is_what_a_run_is_reported_as(tmp_path):
  bindings = ['train.horizon=10', 'train.system=@HIVTreatment']
  (tmp_path / 'config.gin').write_text(
      'SYSTEM = @CancerTreatment\nHORIZON = 20\nSTEPS = 100\nNUM_ENV_STEPS = %STEPS\n'
      'train.horizon = 10\ntrain.system = @HIVTreatment\n'
      'TrainingLoop.num_env_steps = %NUM_ENV_STEPS\n')
  (tmp_path / 'run.json').write_text(json.dumps({
      'gin_files': ['gin/myriad_lstm.gin'], 'gin_bindings': bindings, 'seed': 0, 'command': '',
      'versions': {}}))
  found = training_runs.read_run(tmp_path)
  assert (found['system'], found['horizon'], found['num_env_steps']) == ('HIVTreatment', 10, 100)
  assert found['variation'] == ''


def test_a_gymnasium_environment_is_a_system_by_its_id(tmp_path):
  cell, = training_cells(['gymnasium'], ['InvertedPendulum-v5'], [None], 100, 1)
  arguments = training_runs.arguments('runs', cell)
  assert arguments[2:7] == [
      '--gin_file=gin/gymnasium.gin', '--gin_bindings=SYSTEM=@GymnasiumSystem',
      '--gin_bindings=HORIZON=None', '--gin_bindings=NUM_ENV_STEPS=100',
      "--gin_bindings=ENVIRONMENT='InvertedPendulum-v5'"]
  bindings = [argument.split('=', 1)[1] for argument in arguments if '_bindings' in argument]
  (tmp_path / 'config.gin').write_text('\n'.join(
      [*(binding.replace('=', ' = ', 1) for binding in bindings), 'train.system = %SYSTEM',
       'train.horizon = %HORIZON', 'TrainingLoop.num_env_steps = %NUM_ENV_STEPS',
       'GymnasiumSystem.environment = %ENVIRONMENT']))
  (tmp_path / 'run.json').write_text(json.dumps({
      'gin_files': ['gin/gymnasium.gin'], 'gin_bindings': bindings, 'seed': 0, 'command': '',
      'versions': {}}))
  found = training_runs.read_run(tmp_path)
  assert {name: found[name] for name in cell} == cell


def test_runs_whose_episodes_end_early_are_compared_where_evaluations_fell_due():
  def run(model, steps, returns):
    return row(model, 'Hopper-v5', None) | {
        'env_steps': steps, 'return': returns, 'wall_seconds': steps,
        'normalised_score': [None] * len(steps)}

  rows = [run('one', [0, 1003, 2011], [1.0, 2.0, 3.0]),
          run('other', [0, 1000, 2005], [4.0, 5.0, 6.0])]
  assert statistics.common_steps(rows) == [0, 1000, 2005]
  assert [statistics.at_step(rows[0], step, 'return') for step in (0, 1000, 2005)] == [1, 2, 3]
  table = report.tables(rows)
  assert table.startswith("the environments' own H, after 2,005 environment steps")
  assert '| other | 6.000 |' in table
  assert set(report.pictures(rows)) == {'systems', 'curves'}


def test_runs_of_different_evaluation_intervals_are_compared_at_their_ends():
  rows = [row('one', scores=(0.1, 0.5, 0.95)) | {'env_steps': [0, 480, 960]},
          row('other', scores=(0.1, 0.99)) | {'env_steps': [0, 1000]}]
  table = report.tables(rows)
  assert table.startswith('H = 20, after 960 environment steps')
  assert '| one | 0.950 |' in table
  assert '| other | 0.990 |' in table


def test_a_run_without_an_optimum_is_compared_by_its_return_and_not_called_infinite():
  scored, unscored = (row(scores=scores, variation=variation) | {'return': [-20.0, -12.0]}
                      for variation, scores in (
                          ('', (0.1, 0.9)), ('Harvest.process_noise=0.1', (None, None))))
  table = report.tables([scored, unscored])
  assert 'not finite' not in table
  assert '| -12.000 |' in table


def test_values_of_a_variation_are_written_as_gin_reads_them():
  cells = training_cells(**GRID, variations={
      'a.sizes': [(64, 64)], 'a.dtype': ['float64'], 'a.model': ['@LSTM'], 'a.rate': [1e-3],
      'a.limit': [None]})
  assert cells[0]['variation'] == (
      "a.sizes=(64,64) a.dtype='float64' a.model=@LSTM a.rate=0.001 a.limit=None")
  for value in ({1: 2}, 'two words', ['a b'], '@two words', '@LSTM\nimport evil', '@LSTM\\'):
    with pytest.raises(UserError, match='varies over'):
      training_cells(**GRID, variations={'a.b': [value]})


def test_a_sweep_of_somebody_else_smuggles_no_import_into_its_runs():
  for name in ('import\\ evil Trainer.batch_size', 'import\nevil', 'a.b\n', 'a=1 b', '', 1):
    with pytest.raises(UserError, match='not the name of a gin binding') as raised:
      training_cells(**GRID, variations={name: [64]})
    assert '\n' not in raised.value.message
  cell, = training_cells(**GRID)  # what a gin file may also write out, for run_sweep.cells
  for change in ({'variation': 'import\\ evil a=1'}, {'variation': 'import evil'},
                 {'system': 'Harvest\nimport evil'}, {'horizon': '20\nimport evil'},
                 {'num_env_steps': '1\\'}):
    with pytest.raises(UserError, match='is not a gin binding') as raised:
      training_runs.arguments('runs', cell | change)
    assert '\n' not in raised.value.message


@pytest.mark.parametrize(('change', 'message'), [
    ({'horizons': 50}, 'horizons is 50'), ({'systems': 'Harvest'}, "systems is 'Harvest'"),
    ({'variations': {'a': 1}}, 'a is 1'), ({'horizons': [1]}, 'horizons is 1'),
    ({'systems': ['Harvset']}, "no system 'Harvset'"), ({'num_seeds': 0}, 'num_seeds'),
    ({'variations': {'train.seed': [1]}}, 'num_seeds'),
    ({'models': ['lstm']}, 'gin/lstm.gin does not exist'), ({'seeds': 3}, 'preset has seeds')])
def test_a_grid_that_cannot_be_run_is_refused(change, message):
  with pytest.raises(UserError, match=message):
    preset_cells('quick', smoke={}, quick=GRID | change, paper={})


def test_a_run_with_many_bindings_has_a_folder_of_its_own(tmp_path):
  cells = training_cells(**GRID, variations={
      f'SomeModel.a_parameter_of_a_long_name_{i}': [1, 2] for i in range(7)})
  folders = {training_runs.folder_of(tmp_path, cell) for cell in cells}
  assert len(folders) == len(cells) == 2 ** 7
  for folder in folders:
    folder.with_name(f'{folder.name}.log').write_text('')


def test_rows_count_without_their_runs(tmp_path):
  cell, = training_cells(**GRID)
  assert not training_runs.is_covered(training_runs.finished_rows(tmp_path), cell)
  for last, finished in ((59, False), (60, True), (61, True)):
    kept = cell | {key: [0, last] for key in (
        'env_steps', 'updates', 'wall_seconds', 'return', 'normalised_score')}
    (tmp_path / 'results.jsonl').write_text(json.dumps(kept) + '\n')
    rows = training_runs.finished_rows(tmp_path)
    assert training_runs.is_covered(rows, cell) == finished
  assert run_sweep(tmp_path, [cell]) == [kept]
  assert json.loads((tmp_path / 'results.jsonl').read_text()) == kept


@pytest.mark.parametrize(('rows', 'left'), [
    ('', 60), ('{"env_steps": 20}\n{"env_st', 40), ('{"env_steps": 80}\n', 0), ('7\n', 60),
    ('{}\n', 60), ('{"env_steps": null}\n', 60), ('what?\n', 60)])
def test_the_steps_left_are_those_that_no_whole_row_has(rows, left, tmp_path):
  cell, = training_cells(**GRID)
  assert training_runs.steps_left(tmp_path, cell) == 60
  run = training_runs.folder_of(tmp_path, cell)
  run.mkdir()
  (run / 'metrics.jsonl').write_text(rows)
  assert training_runs.steps_left(tmp_path, cell) == left


def test_the_bar_counts_the_steps_of_runs_that_train(tmp_path, monkeypatch, capsys):
  cell, = training_cells(**GRID)

  def train(runs, cells, *_, look):
    run = training_runs.folder_of(runs, cells[0])
    run.mkdir()
    (run / 'metrics.jsonl').write_text('{"env_steps": 0}\n{"env_steps": 20}\n{"env_st')
    look(cells)
    yield cells[0], 'ended there'

  monkeypatch.setattr(sweep, '_train', train)
  with pytest.raises(FailedRuns, match='0: ended there'):
    run_sweep(tmp_path, [cell])
  assert '20.0/60.0' in capsys.readouterr().err


def test_a_run_whose_summary_is_damaged_is_not_finished(tmp_path):
  cell, = training_cells(**GRID)
  summary = tmp_path / 'runs' / training_runs.folder_of('', cell).name / 'summary.json'
  summary.parent.mkdir(parents=True)
  summary.write_text('{"env_')
  assert training_runs.finished_rows(tmp_path) == {}


@pytest.mark.parametrize('changes', [
    {'model': 3}, {'horizon': '20'}, {'return': [1.0]}, {'normalised_score': None}])
def test_a_line_that_is_no_row_is_one_line(changes, tmp_path):
  (tmp_path / 'results.jsonl').write_text(json.dumps(row('one', 'Hopper-v5', 20)) + '\n')
  assert training_runs.finished_rows(tmp_path)
  (tmp_path / 'results.jsonl').write_text(
      json.dumps(row('one', 'Hopper-v5', 20) | changes) + '\n')
  with pytest.raises(UserError, match='holds a line that is no row of a run'):
    training_runs.finished_rows(tmp_path)


# Sweeps: real runs, of a baseline that has nothing to compile.


@pytest.mark.parametrize(('retries', 'failure'), [(1, None), (0, 'exit code 1, no luck')])
def test_a_run_that_broke_is_started_again_as_often_as_asked(
    retries, failure, tmp_path, monkeypatch):
  code = (f'import pathlib, sys; once = pathlib.Path({str(tmp_path / "once")!r}); '
          'again = once.exists(); once.touch(); sys.exit(None if again else "no luck")')
  monkeypatch.setattr(training_runs, 'arguments', lambda *_: ['-c', code])
  cell, = training_cells(**GRID)
  (_, said), = sweep._train(tmp_path, [cell], 1, 0, retries, None, look=lambda at: None)
  assert said is None if failure is None else said.startswith(failure)


def test_a_run_that_fails_says_so_once(tmp_path, capfd):
  cell, = training_cells(**GRID, variations={'NO_SUCH_MACRO': [1]})
  with pytest.raises(FailedRuns, match='sets a macro that no gin file uses'):
    run_sweep(tmp_path, [cell])
  out, err = capfd.readouterr()
  assert 'raylet' not in out + err
  assert 'sets a macro' not in out + err  # that is for the command to say


@pytest.fixture(scope='module')
def swept(tmp_path_factory):
  """A sweep of two runs and a third that cannot start."""
  folder = tmp_path_factory.mktemp('sweep')
  cells = training_cells(**GRID | {'num_seeds': 2})
  wrong = cells[1] | {'variation': 'NO_SUCH_MACRO=1'}
  with pytest.raises(FailedRuns) as failed:
    run_sweep(folder, [cells[0], wrong, cells[1]])
  return folder, cells, str(failed.value)


def test_a_failed_run_is_reported_and_the_others_are_kept(swept):
  folder, cells, failure = swept
  assert failure.startswith('myriad_random_search-CancerTreatment-20-NO_SUCH_MACRO=1-1: exit code')
  assert 'sets a macro that no gin file uses' in failure
  assert '\n' not in failure
  rows = [json.loads(line) for line in (folder / 'results.jsonl').read_text().splitlines()]
  assert [found['seed'] for found in rows] == [0, 1]
  for found, cell in zip(rows, cells, strict=True):
    assert found.items() >= cell.items()
    assert found['env_steps'] == [0, 60]
    assert found['command'].startswith('python -m launch.main')
    assert found['versions']['tensorflow']
    assert len(found['normalised_score']) == 2
  assert rows[0]['return'][-1] != rows[1]['return'][-1]


def test_ray_is_not_reached_from_elsewhere():
  code = ('from asm_tf.experiments import sweep; ray = sweep._start_ray(None); '
          'print([node["NodeManagerAddress"] for node in ray.nodes()])')
  done = subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, capture_output=True,
                        text=True, check=True)
  assert done.stdout.strip() == "['127.0.0.1']"


def test_what_a_machine_does_not_have_is_not_waited_for(tmp_path):
  with pytest.raises(UserError, match='a run asks for 1000 CPUs'):
    run_sweep(tmp_path, training_cells(**GRID), cpus_per_run=1000)


def test_a_folder_belongs_to_one_sweep_at_a_time(tmp_path):
  lock = os.open(tmp_path / 'sweep.lock', os.O_RDWR | os.O_CREAT)
  fcntl.flock(lock, fcntl.LOCK_EX)
  with pytest.raises(UserError, match='another sweep is at work'):
    run_sweep(tmp_path, training_cells(**GRID))
  os.close(lock)


def test_bindings_that_no_run_would_see_are_refused(fresh_gin):
  gin.parse_config(['run_sweep.retries = 0', 'MACRO = 1', 'Trainer.batch_size = 3'])
  with pytest.raises(UserError, match=r"would not reach the runs: vary 'Trainer.batch_size'\."):
    command_line.refuse_bindings_of_runs(['run_sweep'], lambda name: f'vary {name!r}')
  gin.clear_config()
  with pytest.raises(UserError, match=r'would not reach.*variations of preset_cells\.quick'):
    launch_figure.run(['gin/figures/sample_efficiency.gin'], ['training_cells.num_seeds=1'])
  with pytest.raises(UserError, match=r'would not reach.*training_cells\.variations'):
    launch_sweep.run(['gin/sweeps/models.gin'], ['preset_cells.quick={}'])


def test_an_address_without_a_cluster_is_refused(tmp_path):
  with pytest.raises(UserError, match='no Ray cluster'):
    run_sweep(tmp_path, training_cells(**GRID), address='127.0.0.1:1')


def test_finished_runs_are_not_run_again_and_a_longer_sweep_trains_them_on(
    swept, tmp_path, capfd):
  first, cells, _ = swept
  folder = shutil.copytree(first, tmp_path / 'sweep')
  before = {path: path.stat().st_mtime_ns for path in folder.rglob('metrics.jsonl')}
  rows = run_sweep(folder, cells)
  assert {path: path.stat().st_mtime_ns for path in folder.rglob('metrics.jsonl')} == before
  longer = cells[0] | {'num_env_steps': 100}
  assert not training_runs.is_covered(training_runs.finished_rows(folder), longer)
  extended, = run_sweep(folder, [longer])
  bar = capfd.readouterr().err.split('\r')[-1]
  assert '100/100' in bar
  assert '1 of 1 runs' in bar
  assert extended['env_steps'][-1] == 100
  assert extended['return'][:2] == rows[0]['return']
  rows = training_runs.finished_rows(folder)
  assert training_runs.row_of_cell(rows, cells[0])['env_steps'] == [0, 60]


def test_a_report_is_the_same_twice(swept, tmp_path, capsys):
  folder, _, _ = swept
  for name in 'ab':
    launch_report.run(folder, tmp_path / name)
  table = (tmp_path / 'a' / 'table.md').read_text()
  assert table == (tmp_path / 'b' / 'table.md').read_text()
  assert '| random_search |' in table
  assert table in capsys.readouterr().out
  assert (tmp_path / 'a' / 'curves.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
def test_a_sweep_killed_and_started_again_repeats_no_finished_run(tmp_path):
  command = [sys.executable, '-m', 'launch.sweep', '--gin_file=gin/sweeps/smoke.gin',
             "--gin_bindings=training_cells.models=('myriad_random_search',)",
             '--gin_bindings=training_cells.num_seeds=2', '--gin_bindings=run_sweep.cpus_per_run=2',
             f'--out={tmp_path}']
  results = tmp_path / 'results.jsonl'
  with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL) as sweep:
    until = time.monotonic() + 300
    while not (results.exists() and results.read_text()) and time.monotonic() < until:
      time.sleep(0.1)
    sweep.send_signal(signal.SIGKILL)
  finished = {path.parent: path.stat().st_mtime_ns for path in tmp_path.rglob('summary.json')}
  assert len(finished) == 1
  done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600,
                        check=False)
  assert done.returncode == 0, done.stderr
  assert len(results.read_text().splitlines()) == 2
  assert all((folder / 'summary.json').stat().st_mtime_ns == then
             for folder, then in finished.items())
  assert '| random_search |' in done.stdout


# Reports.


def test_a_report_names_what_it_leaves_out(swept, tmp_path):
  folder, cells, _ = swept
  shutil.copytree(folder / 'runs', tmp_path / 'runs')
  (tmp_path / 'sweep.lock').touch()
  foreign = tmp_path / 'runs' / 'foreign'
  foreign.mkdir()
  (foreign / 'run.json').write_text('{}')
  corrupt, = (path for path in (tmp_path / 'runs').iterdir()
              if path.is_dir() and path.name.endswith('-20-1'))
  (corrupt / 'metrics.jsonl').write_text('no row\n')
  rows, failed = found_runs.read_runs(tmp_path)
  assert [(row['system'], row['seed']) for row in rows] == [(cells[0]['system'], 0)]
  assert list(failed) == [f'runs/{name}' for name in (
      'myriad_random_search-CancerTreatment-20-NO_SUCH_MACRO=1-1', 'foreign', corrupt.name)]
  assert 'sets a macro that no gin file uses' in failed[list(failed)[0]]
  assert 'holds no run that can be read' in failed['runs/foreign']
  table = found_runs.table_of_failures(failed).splitlines()
  assert [line.split(' | ')[0] for line in table[4:]] == [f'| {name}' for name in sorted(failed)]


def test_a_run_in_training_has_no_last_words(tmp_path):
  run = tmp_path / 'runs' / 'one'
  run.mkdir(parents=True)
  (run / 'lock').touch()
  run.with_suffix('.log').write_text('45%|### | 9\r46%|### | 10')
  (tmp_path / 'sweep.lock').touch()
  (run / 'logs').mkdir()
  (run / 'logs' / 'debug.log').touch()  # others' logs are none of ours
  assert found_runs.last_words(tmp_path) == {'runs/one': '46%|### | 10'}
  with locked(run / 'lock'):
    assert found_runs.last_words(tmp_path) == {}
  (tmp_path / 'runs' / 'two.log').touch()  # its run has not begun
  assert set(found_runs.last_words(tmp_path)) == {'runs/one', 'runs/two'}
  assert set(found_runs.last_words(tmp_path / 'runs')) == {'one', 'two'}
  with locked(tmp_path / 'sweep.lock'):
    assert set(found_runs.last_words(tmp_path)) == {'runs/one'}


def test_a_run_that_died_or_is_at_work_does_not_shorten_the_others(tmp_path, monkeypatch):
  found = {name: row(seed=seed, scores=scores) for seed, (name, scores) in enumerate((
      ('whole', (0.0, 0.5, 1.0)), ('died', (0.0, 0.75)), ('at_work', (0.0,))))}
  (tmp_path / 'sweep.lock').touch()
  for name in found:
    (tmp_path / 'runs' / name).mkdir(parents=True)
    for file in ('run.json', 'lock', f'../{name}.log'):
      (tmp_path / 'runs' / name / file).touch()
  (tmp_path / 'runs' / 'whole' / 'summary.json').touch()
  monkeypatch.setattr(found_runs, 'read_run', lambda folder: found[folder.name])
  with locked(tmp_path / 'runs' / 'at_work' / 'lock'):
    rows, failed = found_runs.read_runs(tmp_path)
  assert [(run['seed'], run.get('ended_early', False)) for run in rows] == [(1, True), (0, False)]
  assert set(failed) == {'runs/died', 'runs/at_work'}
  matrices, _, steps = statistics.score_matrices(rows)
  np.testing.assert_array_equal(steps, found['whole']['env_steps'])
  np.testing.assert_array_equal(
      matrices[statistics.label(rows[0])][:, 0], [[0, 0.5, 1], [0, 0.75, -np.inf]])


def test_a_run_on_several_hosts_is_one_run(tmp_path, monkeypatch):
  for name in ('run', 'run-worker-1', 'other-worker-1'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'run.json').touch()
  monkeypatch.setattr(found_runs, 'read_run', lambda folder: row(folder.name))
  rows, failed = found_runs.read_runs(tmp_path)
  assert [found['model'] for found in rows] == ['myriad_other-worker-1', 'myriad_run']
  assert not failed


def test_a_run_of_which_nothing_was_evaluated_is_not_finished(tmp_path):
  run = tmp_path / 'runs' / 'one'
  run.mkdir(parents=True)
  (run / 'summary.json').write_text('{"env_steps": 1}')
  kept = row()
  (tmp_path / 'results.jsonl').write_text(json.dumps(kept) + '\n')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(training_runs, 'read_run', lambda folder: row() | {'env_steps': []})
    assert list(training_runs.finished_rows(tmp_path).values()) == [kept]
  (tmp_path / 'results.jsonl').write_text(json.dumps({
      name: value for name, value in kept.items() if name != 'env_steps'}))
  with pytest.raises(UserError, match='no row of a run'):
    training_runs.finished_rows(tmp_path)


def test_the_longer_of_two_runs_of_a_seed_counts(tmp_path, monkeypatch):
  found = {name: row(scores=scores) for name, scores in (
      ('a', (0.0, 0.2)), ('b', (0.0, 0.3, 0.9)), ('c', (0.0, 0.4)))}
  for name in found:
    (tmp_path / name).mkdir()
    (tmp_path / name / 'run.json').touch()
  monkeypatch.setattr(found_runs, 'read_run', lambda folder: found[folder.name])
  rows, left_out = found_runs.read_runs(tmp_path)
  assert rows == [found['b']]
  assert set(left_out) == {'a', 'c'}
  assert 'those of b' in left_out['a']
  found['c'] = row(scores=(0.0, 0.4, 0.5, 0.6))
  rows, left_out = found_runs.read_runs(tmp_path)
  assert rows == [found['c']]
  assert all('those of c' in left_out[name] for name in 'ab')


def test_intervals_do_not_depend_on_numpys_state():
  scores = {'lstm': np.random.default_rng(0).normal(size=(5, 3, 2))}
  found = []
  for seed in (1, 2):
    np.random.seed(seed)
    found.append(statistics.interquartile_means(scores)['lstm'])
    assert np.random.uniform() == np.random.RandomState(seed).uniform()
  np.testing.assert_array_equal(*found)


def test_environments_of_their_own_length_have_pictures_beside_others():
  rows = [row(horizon=horizon) for horizon in (20, 50)] + [row(system='Hopper-v5', horizon=None)]
  drawn = report.pictures(rows)
  assert len(drawn['systems'].axes) == 1  # against H
  np.testing.assert_array_equal(drawn['horizons'].axes[0].lines[0].get_xdata(), [20, 50])
  assert len(report.pictures(rows[1:])['systems'].axes) == 2  # against steps
  assert 'environments' in report.tables(rows)


def test_a_picture_against_h_shows_what_the_table_does():
  rows = [row(horizon=20, scores=(0.0, 0.25, 1.0)), row(horizon=50, scores=(0.0, 0.5)),
          row('sac', horizon=20, scores=(0.0, 0.75)), row('sac', horizon=50, scores=(0.0, 0.5))]
  line = report.pictures(rows)['systems'].axes[0].lines[0]
  np.testing.assert_array_equal(line.get_xydata(), [[20, 0.25], [50, 0.5]])


def test_a_picture_says_what_it_is_of():
  rows = [row(model, system, horizon=horizon, seed=seed) for seed in range(2)
          for horizon in (20, 50) for system in ('Harvest', 'Bacteria') for model in ('a', 'b')
          if (model, system, horizon) != ('b', 'Harvest', 20) and (model, seed) != ('b', 1)]
  drawn = report.pictures(rows)
  title = drawn['horizons'].get_suptitle()
  assert title.startswith('1 to 2 seeds, 1 system at H = 20, 2 systems at H = 50: interquartile')
  colours = [{line.get_label(): line.get_color() for axis in picture.axes
              for line in axis.get_lines() if line.get_label() in 'ab'}
             for picture in drawn.values()]
  assert all(found == colours[0] for found in colours)
  assert '| b | 1.000 | 1.000 |' in report.tables(rows)


def test_a_run_without_a_score_leaves_the_others_theirs():
  rows = [row(system=system, seed=seed) for system in 'ab' for seed in range(2)]
  rows[0] |= {'normalised_score': [None, None], 'return': [None, None]}
  text = report.tables(rows)
  assert 'IQM of the score' in text
  assert 'not finite' in text
  rows = [row(horizon=20), row(horizon=33) | {'normalised_score': [None, None], 'return': [5, 6]}]
  line = report.pictures(rows)['systems'].axes[0].lines[0]
  np.testing.assert_array_equal(line.get_xydata(), [[20, 1], [33, 6]])  # returns


def test_a_folder_without_runs_is_refused(tmp_path):
  with pytest.raises(UserError, match='holds no run'):
    found_runs.read_runs(tmp_path)
  (tmp_path / 'config.gin').write_text('HORIZON = 20\n')
  for text in ('{', '{}'):
    (tmp_path / 'run.json').write_text(text)
    with pytest.raises(UserError, match='no run that can be read'):
      found_runs.read_runs(tmp_path)


def test_a_model_counts_with_the_systems_that_all_share_and_its_common_seeds():
  rows = [row('lstm', 'Harvest', seed=0), row('lstm', 'Harvest', seed=1, scores=(2.0, 3.0)),
          row('lstm', 'Bacteria', seed=0), row('sac', 'Harvest', seed=4, scores=(5.0, 6.0, 7.0))]
  matrices, systems, steps = statistics.score_matrices(rows)
  assert systems == ['Harvest']
  assert list(steps) == [0, 1]
  np.testing.assert_array_equal(matrices['lstm'], [[[0, 1]], [[2, 3]]])
  np.testing.assert_array_equal(matrices['sac'], [[[5, 6]]])
  matrices, systems, _ = statistics.score_matrices(rows[:3])
  assert systems == ['Harvest', 'Bacteria']
  assert matrices['lstm'].shape == (1, 2, 2)


def test_the_interquartile_mean_is_rliables_at_every_step():
  scores = np.random.default_rng(0).normal(size=(5, 3, 4))
  (means, low, high), = statistics.interquartile_means({'a': scores}).values()
  np.testing.assert_allclose(
      means, [metrics.aggregate_iqm(scores[..., t]) for t in range(4)], rtol=1e-12)
  assert np.all(low < means)
  assert np.all(means < high)


def test_profiles_and_probabilities():
  scores = {'a': np.array([[[0.5], [0.7]]]), 'b': np.array([[[0.1], [0.7]]])}
  shares = statistics.performance_profiles(scores, np.array([0.0, 0.6, 0.9]))
  np.testing.assert_array_equal(shares['a'][0], [1, 0.5, 0])
  a, b = (scores[name][..., 0] for name in 'ab')
  assert statistics.probability_of_improvement(a, b) == 0.75  # better, and a tie


def test_a_table_has_a_line_a_model_and_a_column_a_system():
  rows = [row('lstm', 'Harvest', seed=seed, scores=(0.0, score)) for seed, score in
          enumerate((0.25, 0.5, 1.0))] + [row('lstm', 'Bacteria'), row('sac', 'Harvest'),
                                          row('sac', 'Harvest', variation='X=1')]
  head, _, *lines = [line for line in report.tables(rows).splitlines() if line.startswith('|')]
  assert head.startswith('| model | Harvest | Bacteria | IQM')
  assert lines[0].startswith('| lstm | 0.500 (0.250 to 1.000) | 1.000 |')
  assert lines[1].startswith('| sac | 1.000 |  |')
  assert lines[2].startswith('| sac (X=1) |')
  assert all(line.count('|') == head.count('|') for line in lines)
  assert report.tables(rows + [row(horizon=50)]).count('| model |') == 2


def test_what_all_runs_share_is_no_part_of_their_names():
  rows = [row(f'{model}', 'Harvest', variation='X.y=1') | {'model': f'credit+models/{model}'}
          for model in ('lstm', 'markov')]
  assert '| lstm | ' in report.tables(rows)
  assert '| lstm (X.y=2) | ' in report.tables([rows[0] | {'variation': 'X.y=2'}, rows[1]])


def test_causes_are_reported_where_they_were_measured():
  causes = {'validation_skill': [None, 0.5], 'policy_gradient_norm': [None, 2.0],
            'gradient_cosine': [None, 0.25], 'gradient_relative_error': [None, None]}
  rows = [row('lstm', 'Harvest'), row('markov', 'Harvest') | causes,
          row('markov', 'Harvest', seed=1) | causes | {'gradient_cosine': [0.0, 0.75]}]
  rows += [row('simulator', 'Harvest') | {'gradient_cosine': [1.0, 1.0]}]  # without a skill
  text = report.tables(rows)
  assert '| markov | Harvest | 0.5 | 2 | 0.5 |  |' in text
  assert '| simulator | Harvest |  |  | 1 |  |' in text
  assert '| lstm | Harvest | ' not in text
  assert 'Medians' not in report.tables(rows[:1])
  without = {cause: values for cause, values in causes.items() if not cause.startswith('gradient_')}
  assert '| model | system | skill | norm |' in report.tables([row() | without])


def test_runs_of_other_lengths_are_compared_where_all_of_them_were_evaluated():
  rows = [row(scores=(0.0, 0.25, 0.5, 1.0)), row('sac', scores=(0.0, 0.75)),
          row('sac', seed=1, scores=(0.0, 0.5, 0.5))]
  rows[0]['env_steps'] = [0, 5, 1, 7]
  text = report.tables(rows)
  assert 'after 1 environment steps' in text
  assert '| lstm | 0.500 | 0.500 |' in text
  assert '| sac | 0.625 (0.500 to 0.750) |' in text


def test_values_that_are_not_finite_are_shown_as_such_and_returns_are_not_mixed():
  rows = [row(scores=(0.0, None)), row('sac')]
  assert '| lstm | not finite |' in report.tables(rows)
  assert report.pictures(rows).keys() >= {'systems', 'curves'}
  # A broken run is the worst of all: of four, the least and the best are left out.
  rows = [row(seed=seed, scores=(score,)) for seed, score in enumerate((0.1, 0.2, 0.3, None))]
  text = report.tables([*rows, row('sac', scores=(0.15,))])
  assert '| lstm | not finite | 0.150 (not finite to ' in text
  assert '| sac | 0.150 | 0.150 |' in text
  assert report.pictures(rows).keys() >= {'systems', 'curves'}
  rows = [row(system=system) | {'normalised_score': [None, None]} for system in 'ab']
  assert '| lstm | 1.000 | 1.000 |  |' in report.tables(rows)
  assert set(report.pictures(rows)) == {'systems'}


def test_a_curve_is_of_all_seeds_wherever_they_were_evaluated():
  rows = [row(scores=(0.0, 1.0, None)), row(seed=1, scores=(0.0, 4.0))]
  rows[0]['env_steps'], rows[1]['env_steps'] = [0, 10, 30], [0, 20]
  line = report.pictures(rows)['systems'].axes[0].lines[0]
  np.testing.assert_array_equal(line.get_xydata(), [[0, 0], [10, 1.5], [20, np.nan]])


def test_many_models_have_a_picture():
  assert report.pictures([row(f'model_{i}') for i in range(25)])


def test_systems_without_an_optimum_are_reported_by_their_returns():
  rows = [row() | {'normalised_score': [None, None], 'return': [3.0, 4.0]}]
  assert '| lstm | 4.000 |' in report.tables(rows)
  assert 'profiles' not in report.pictures(rows)


def test_a_table_has_one_step_for_all_its_columns():
  """One model has just begun on a system that the other has not reached."""
  rows = [row(model, scores=scores) for model, scores in (
      ('lstm', (0.0, 0.25, 1.0)), ('rnn', (0.0, 0.5, 0.75)))]
  rows.append(row('lstm', 'Bacteria', scores=(0.0, 0.125)))
  table = report.tables(rows)
  assert 'after 1 environment steps' in table
  assert 'as far as lstm on Bacteria (seed 0) goes; the longest run goes on to 2.' in table
  assert 'the longest run' not in report.tables(rows[:2])
  lstm, rnn = ([entry.strip() for entry in line.split('|')]
               for line in table.splitlines() if line.startswith(('| lstm', '| rnn')))
  assert lstm[2:5] == ['0.250', '0.125', '0.250']  # harvest, bacteria, IQM of harvest
  assert rnn[2:5] == ['0.500', '', '0.500']
