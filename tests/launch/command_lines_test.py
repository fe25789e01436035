"""The commands as a user types them: exit codes, one-line complaints, signals."""

import json
import os
import signal
import subprocess
import sys
import time

import gin
import pytest

from asm_tf import configurables  # noqa: F401  what gin files name
from asm_tf.errors import UserError
from launch import command_line, evaluate, gin_imports
from launch import main as launch_main
from tests.support.paths import REPOSITORY

GIN_FILE = 'gin/myriad_lstm.gin'
# Small enough for a test, and with all its parts.
SMALL = ('HORIZON=5', 'NUM_ENV_STEPS=200', 'Trainer.warmup_steps=50', 'Trainer.batch_size=4',
         'Execution.jit_compile=False', 'Execution.microbatches=1', 'LSTM.hidden_sizes=(4,)',
         'TrainingLoop.eval_interval=50', 'TrainingLoop.checkpoint_interval=100')


pytestmark = pytest.mark.usefixtures('fresh_gin')


def start(*arguments):
  return subprocess.Popen(
      [sys.executable, '-m', *arguments], cwd=REPOSITORY, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def small_run(root_dir, *more):
  return start('launch.main', f'--gin_file={GIN_FILE}', f'--root_dir={root_dir}',
               *(f'--gin_bindings={binding}' for binding in SMALL), *more)


@pytest.mark.parametrize(('score', 'value', 'result'), [
    (0.5, -3.0, 'score 0.5000'), (None, -3.0, 'return -3 '),
    (None, None, 'no finite return')])  # the world of the last evaluation broke
def test_a_run_ends_with_its_result(score, value, result, monkeypatch, tmp_path, capsys, fresh_gin):
  summary = {'normalised_score': score, 'return': value, 'env_steps': 7, 'wall_seconds': 1.0}
  monkeypatch.setattr('asm_tf.configurables.train', lambda **_: summary)
  assert launch_main.run(
      launch_main.Configuration(['gin/myriad_lstm.gin']), str(tmp_path), seed=0) == 0
  assert capsys.readouterr().out.startswith(result)


@pytest.mark.parametrize(('binding', 'flag', 'seed'), [
    ((), None, 0), (('train.seed=3',), None, 3), (('train.seed=3',), 5, 5)])
def test_a_seed_is_the_flags_or_the_configurations(
    binding, flag, seed, monkeypatch, tmp_path, capsys, fresh_gin):
  given = {}
  summary = {'normalised_score': 1.0, 'return': 1.0, 'env_steps': 7, 'wall_seconds': 1.0}
  monkeypatch.setattr(
      'asm_tf.configurables.train', lambda **arguments: given.update(arguments) or summary)
  launch_main.run(launch_main.Configuration(['gin/myriad_lstm.gin'], binding), str(tmp_path), flag)
  assert given['options'].command_line['seed'] == gin.query_parameter('train.seed') == seed


def test_train_stop_resume_evaluate(tmp_path):
  root_dir = tmp_path / 'run'
  endless = '--gin_bindings=NUM_ENV_STEPS=1000000'
  process = small_run(root_dir, endless)
  metrics = root_dir / 'metrics.jsonl'
  deadline = time.monotonic() + 120
  while time.monotonic() < deadline and process.poll() is None and not (
      metrics.exists() and len(metrics.read_text().splitlines()) > 3):
    time.sleep(0.1)
  process.send_signal(signal.SIGTERM)
  out, _ = process.communicate(timeout=60)
  assert process.returncode == 143
  assert f'--root_dir={root_dir} --resume' in out
  stopped_at = json.loads(metrics.read_text().splitlines()[-1])['env_steps']

  process = small_run(root_dir, '--resume', f'--gin_bindings=NUM_ENV_STEPS={stopped_at + 300}')
  out, error = process.communicate(timeout=200)
  assert process.returncode == 0, error
  assert out.startswith('return ')  # no optimum at H = 5
  assert str(root_dir) in out
  summary = json.loads((root_dir / 'summary.json').read_text())
  assert summary['env_steps'] == json.loads(metrics.read_text().splitlines()[-1])['env_steps']
  assert 'HORIZON = 5' in (root_dir / 'operative_config.gin').read_text()

  process = start('launch.evaluate', f'--run_dir={root_dir}')
  out, error = process.communicate(timeout=100)
  assert process.returncode == 0, error
  assert f'return: {summary["return"]:.6g}' in out
  assert (root_dir / 'trajectory.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(('imports', 'expected'), [
    ('import asm_tf, tensorflow as tf; print(tf.keras.layers.Layer.__module__)', 'tf_keras'),
    ('import tensorflow as tf; import asm_tf, tf_agents.agents; '
     'print(tf.keras.layers.Layer.__module__)', 'tf_keras'),
    ('import tensorflow as tf; tf.keras.layers; import asm_tf', 'Import asm_tf first'),
])
def test_importing_in_any_order_works_or_says_why(imports, expected):
  environment = {key: value for key, value in os.environ.items()
                 if key != 'TF_USE_LEGACY_KERAS'}
  done = subprocess.run([sys.executable, '-c', imports], cwd=REPOSITORY, env=environment,
                        capture_output=True, text=True, timeout=100, check=False)
  assert expected in (done.stdout or done.stderr)


# Configurations from somebody else.

INNOCENT = "include 'gin/myriad_lstm.gin'\nmake_asm_agent.world_model = @LSTM\nHORIZON = 7\n"


def test_an_import_in_a_gin_file_from_elsewhere_is_refused_before_anything_runs(tmp_path):
  trap, marker = tmp_path / 'trap.py', tmp_path / 'ran'
  trap.write_text(f'open({str(marker)!r}, "w").close()\n')
  for text in ('import trap\n', 'from trap import anything\n'):
    (tmp_path / 'inner.gin').write_text(text)
    (tmp_path / 'outer.gin').write_text(f"{INNOCENT}include '{tmp_path / 'inner.gin'}'\n")
    done = subprocess.run(
        [sys.executable, '-m', 'launch.main', f'--gin_file={tmp_path / "outer.gin"}',
         f'--root_dir={tmp_path / "run"}'], cwd=REPOSITORY, capture_output=True, text=True,
        check=False, env=os.environ | {'PYTHONPATH': str(tmp_path)})
    assert done.returncode == 2
    assert 'imports trap' in done.stderr
    assert '--allow_gin_imports' in done.stderr
    assert 'Traceback' not in done.stderr
  assert not marker.exists()
  assert not (tmp_path / 'run').exists()


def test_an_include_is_looked_for_on_the_disk_alone(tmp_path, monkeypatch, fresh_gin):
  for folder in ('study', 'study/inner'):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / '__init__.py').write_text('raise AssertionError("this ran")\n')
  (tmp_path / 'study/a.gin').write_text("include 'study.inner/b.gin'\n")
  (tmp_path / 'study/inner/b.gin').write_text('import study.inner.evil\n')
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(UserError, match='study.inner/b.gin'):
    command_line.parse_gin(['study/a.gin'], [])


def test_a_file_that_includes_itself_is_refused(tmp_path, fresh_gin):
  one, other = tmp_path / 'one.gin', tmp_path / 'other.gin'
  one.write_text(f"include '{other}'\n")
  other.write_text(f"include 'gin/models/lstm.gin'\ninclude '{one}'\n")
  for allow_imports in (False, True):
    with pytest.raises(UserError, match='one.gin includes itself, by way of .*other.gin'):
      command_line.parse_gin([str(one)], [], allow_imports)


def test_every_kind_of_import_is_found(tmp_path):
  file = tmp_path / 'run.gin'
  file.write_text("import one.two\nfrom three import four\ninclude 'gin/models/lstm.gin'\n"
                  'HORIZON = 7\n')
  assert gin_imports.imports_of(file) == ['one.two', 'three.four']


def test_a_binding_that_imports_what_is_not_there_is_one_line(tmp_path, fresh_gin):
  file = tmp_path / 'run.gin'
  file.write_text('HORIZON = 7\n')
  with pytest.raises(UserError, match='--gin_bindings imports what Python does not find'):
    command_line.parse_gin([str(file)], ['import not_there_at_all'])


def test_a_run_folder_from_elsewhere_may_not_import_either(tmp_path):
  (tmp_path / 'config.gin').write_text('import antigravity\n')
  (tmp_path / 'summary.json').write_text('{}')
  with pytest.raises(UserError, match='imports antigravity'):
    evaluate.run(tmp_path)


def test_gin_files_from_elsewhere_are_read_and_imports_can_be_allowed(tmp_path):
  (tmp_path / 'a.gin').write_text(INNOCENT)
  command_line.parse_gin([str(tmp_path / 'a.gin')], [])
  assert gin.query_parameter('HORIZON/gin.macro.value') == 7
  gin.clear_config()
  (tmp_path / 'a.gin').write_text('import colorsys\n' + INNOCENT)
  command_line.parse_gin([str(tmp_path / 'a.gin')], [], allow_imports=True)
  assert gin.query_parameter('HORIZON/gin.macro.value') == 7


@pytest.mark.parametrize(('code', 'has_ray', 'at_once'), [
    (130, True, [130]), (130, False, []), (2, True, []), (0, True, [])])
def test_an_interrupted_sweep_does_not_wait_for_rays_threads(
    code, has_ray, at_once, monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', os)
  if not has_ray:
    monkeypatch.delitem(sys.modules, 'ray')
  ended = []
  monkeypatch.setattr(os, '_exit', ended.append)
  with pytest.raises(SystemExit) as exit_code:  # where the real one has not returned
    command_line._end(code)
  assert ended == at_once
  assert exit_code.value.code == code
