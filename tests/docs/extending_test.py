"""docs/extending.md as it is written: its two classes, its gin file, its commands."""

import json
import os
import re
import shlex
import subprocess
import sys

import gin
import pytest
import tensorflow as tf

from asm_tf.errors import UserError
from launch import command_line, evaluate
from launch import main as launch_main
from tests.models import sequence_model_contract_test as models
from tests.support.paths import REPOSITORY
from tests.systems import systems_contract_test as systems

GUIDE = (REPOSITORY / 'docs/extending.md').read_text()
SMALL = ('HORIZON=6', 'NUM_ENV_STEPS=36', 'Trainer.warmup_steps=12', 'Trainer.batch_size=4',
         'Execution.jit_compile=False', 'Execution.microbatches=1', 'TrainingLoop.eval_interval=12',
         'GRU.units=8')

pytestmark = pytest.mark.usefixtures('fresh_gin')


def blocks(language):
  fenced = re.findall(r'^```(\w*)\n(.*?)^```$', GUIDE, re.DOTALL | re.MULTILINE)
  return [text for found, text in fenced if found == language]


@pytest.fixture(scope='module')
def study(tmp_path_factory):
  """The guide's folder, on Python's path."""
  folder = tmp_path_factory.mktemp('study')
  system, model, *_ = blocks('python')
  (folder / 'van_der_pol.py').write_text(system)
  (folder / 'gru.py').write_text(model)
  (folder / 'study.gin').write_text(blocks('gin')[0])
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(folder))
    yield folder


def commands(study, root_dir):
  """The words of the guide's commands, with the folders of the test."""
  text, = blocks('')
  text = text.replace('\\\n', '').replace('../study', str(study)).replace('runs/study', root_dir)
  return [shlex.split(line) for line in text.splitlines()]


def test_each_example_is_at_most_thirty_lines():
  assert [len(block.splitlines()) <= 30 for block in blocks('python')] == [True] * 4


@pytest.mark.parametrize('check', [
    systems.test_bounds_hold_at_the_extremes,
    systems.test_distractors_and_noise_reach_nothing_else])
def test_the_system_keeps_what_the_guide_does_not_check(study, check):
  from van_der_pol import VanDerPol
  check(VanDerPol)


@pytest.mark.parametrize('dtype', [tf.float32, tf.float64])
def test_the_system_has_the_shapes_of_the_contract(study, dtype):
  from van_der_pol import VanDerPol
  systems.test_shapes_and_dtypes(VanDerPol, dtype)


@pytest.mark.parametrize('check', [
    models.test_teacher_forcing_on_its_own_predictions_equals_call,
    models.test_xla_equals_eager])
def test_the_model_keeps_what_the_guide_does_not_check(study, check):
  from gru import GRU
  check(lambda normalizer, n, m, width, layers: GRU(normalizer, n, m, width, dtype='float64'))


def test_the_guides_own_checks_pass(study):
  exec(compile(blocks('python')[2], 'docs/extending.md', 'exec'), {})


def test_the_guides_agent_from_python_trains(capsys):
  tf.keras.utils.set_random_seed(0)
  exec(compile(blocks('python')[3], 'docs/extending.md', 'exec'), found := {})
  assert found['trainer'].updates == 100
  collect_return, skill = map(float, capsys.readouterr().out.split())
  assert collect_return > 0
  assert 0.9 < skill <= 1


@pytest.mark.slow
def test_the_guides_commands_train_resume_and_evaluate(study, tmp_path, monkeypatch, capsys):
  root_dir = str(tmp_path / 'run')
  path, train, resume, evaluation = commands(study, root_dir)
  name, value = path[1].split('=')
  small = [f'--gin_bindings={binding}' for binding in SMALL]
  done = subprocess.run([sys.executable, *train[1:], *small], cwd=REPOSITORY, text=True,
                        capture_output=True, check=False, timeout=300,
                        env=os.environ | {name: value})
  assert done.returncode == 0, done.stderr
  config = (tmp_path / 'run/config.gin').read_text()
  assert 'SYSTEM = @VanDerPol' in config
  assert '@GRU' in config
  assert 'import van_der_pol' in config

  # The others in this process, where TensorFlow has started already.
  flag = f'--root_dir={root_dir}'
  assert resume[1:3] == ['-m', 'launch.main']
  assert {flag, '--resume', '--allow_gin_imports'} < set(resume)
  bindings = [word.split('=', 1)[1] for word in resume if word.startswith('--gin_bindings=')]
  assert bindings == ['NUM_ENV_STEPS=30_000']
  more = [binding for binding in SMALL if 'NUM_ENV_STEPS' not in binding] + ['NUM_ENV_STEPS=72']
  launch_main.run(launch_main.Configuration([str(study / 'study.gin')], more,
                                            allow_gin_imports=True), root_dir, resume=True)
  rows = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert [row['env_steps'] for row in rows] == [0, 12, 24, 36, 48, 60, 72]
  assert rows[-1]['model_loss'] > 0
  assert rows[-1]['updates'] == 30
  assert (tmp_path / 'run/world_model/saved_model.pb').exists()

  assert evaluation[1:] == ['-m', 'launch.evaluate', f'--run_dir={root_dir}',
                            '--allow_gin_imports']
  gin.clear_config()
  with pytest.raises(UserError, match='--allow_gin_imports'):
    evaluate.run(root_dir)
  evaluate.run(root_dir, allow_gin_imports=True)
  assert f'return: {rows[-1]["return"]:.6g}' in capsys.readouterr().out


def test_a_module_that_is_not_on_the_path_is_named(tmp_path):
  (tmp_path / 'own.gin').write_text('import not_on_the_path\n')
  with pytest.raises(UserError, match='not_on_the_path.*PYTHONPATH'):
    command_line.parse_gin([str(tmp_path / 'own.gin')], [], allow_imports=True)
