"""A run says where it comes from, and can be started again."""

import json

import gin
import pytest

from asm_tf.experiments.training_runs import read_run
from asm_tf.training import origin
from launch import main as launch_main
from tests.support.paths import REPOSITORY

BINDINGS = ('NUM_ENV_STEPS=80', 'HORIZON=8', 'TrainingLoop.eval_interval=40')


def rows(folder):
  return [{name: value for name, value in json.loads(line).items() if 'second' not in name}
          for line in (folder / 'metrics.jsonl').read_text().splitlines()]


@pytest.fixture(name='run_dir')
def _run_dir(tmp_path, fresh_gin):
  launch_main.run(launch_main.Configuration(['gin/myriad_cem.gin'], BINDINGS),
                  str(tmp_path / 'run'), seed=5)
  gin.clear_config()
  return tmp_path / 'run'


def test_a_run_is_started_again(run_dir, tmp_path, monkeypatch, capsys):
  before = launch_main.reproduced(str(run_dir))
  monkeypatch.chdir(tmp_path)
  launch_main.run(launch_main.Configuration([f'{run_dir}/config.gin'], reproduced=before),
                  seed=before['seed'])
  again, = tmp_path.glob('runs/run-*')  # named after the run, not after config.gin
  assert rows(again) == rows(run_dir)
  assert len(rows(again)) == 3
  cells = [{name: read_run(folder)[name] for name in ('model', 'system', 'seed', 'variation')}
           for folder in (run_dir, again)]
  assert cells[0] == cells[1]
  assert cells[0]['model'] == 'myriad_cem'


def test_what_has_changed_since_is_said(run_dir, capsys):
  record = json.loads((run_dir / 'run.json').read_text())
  record['versions']['tensorflow'] = '1.15.0'
  record |= {'commit': 'abc', 'changed': False}
  (run_dir / 'run.json').write_text(json.dumps(record))
  launch_main.reproduced(str(run_dir))
  said = capsys.readouterr().out.splitlines()[-1]
  assert said.startswith('numbers may differ: commit abc then, ')
  assert f'tensorflow 1.15.0 then, {origin.versions()["tensorflow"]} now' in said


def test_the_record_names_code_libraries_and_machine(run_dir):
  record = json.loads((run_dir / 'run.json').read_text())
  assert {'asm_tf', 'tensorflow', 'tf_agents', 'numpy', 'scipy', 'gymnasium',
          'tensorflow-probability'} <= set(record['versions'])
  assert record['accelerators'] == []
  assert record['date'].startswith('20')
  if (REPOSITORY / '.git').exists():
    assert len(record['commit']) == 40
    assert record['changed'] in (True, False)
