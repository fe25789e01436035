"""TensorBoard says what each curve is, and what tells runs apart."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from asm_tf.training.curves import CURVES
from asm_tf.training.hyperparameters import hyperparameters
from launch import command_line
from launch import main as launch_main

pytestmark = pytest.mark.usefixtures('fresh_gin')

SMALL = ('HORIZON=20', 'NUM_ENV_STEPS=60', 'Trainer.warmup_steps=30', 'Trainer.batch_size=4',
         'TrainingLoop.eval_interval=30', 'Execution.jit_compile=False')
# Columns of a row that are no curves.
_AXES = {'env_steps', 'wall_seconds'}


@pytest.mark.parametrize(('file', 'more'), [
    ('gin/credit_assignment.gin', ('GradientComparison.period=2',)),
    ('gin/myriad_cem.gin', ()),
])  # the metrics of the others: tests/launch/gin_files_test.py
def test_every_curve_has_a_description(file, more, tmp_path):
  launch_main.run(launch_main.Configuration([file], [*SMALL, *more]), str(tmp_path / 'run'), seed=3)
  rows = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  columns = set().union(*rows) - _AXES
  assert columns <= CURVES.keys()
  for name in ('train', 'eval'):
    events = EventAccumulator(str(tmp_path / 'run' / name), size_guidance={'tensors': 0})
    events.Reload()
    tags = [tag for tag in events.Tags()['tensors'] if events.SummaryMetadata(tag)
            .plugin_data.plugin_name == 'scalars']
    assert tags
    for tag in tags:
      assert events.SummaryMetadata(tag).summary_description, tag
  start = plugin_data_pb2.HParamsPluginData.FromString(
      events.SummaryMetadata('_hparams_/session_start_info').plugin_data.content
  ).session_start_info
  assert start.group_name == str(tmp_path / 'run')
  assert start.hparams['seed'].number_value == 3
  assert start.hparams['Trainer.batch_size'].number_value == 4


def test_hyperparameters_are_the_files_the_seed_and_the_bindings():
  bindings = ['HORIZON = 7', 'LSTM.hidden_sizes=(4,)', 'PolicyLearner.clip_norm=0.5',
              'SYSTEM=@HIVTreatment']
  command_line.parse_gin(['gin/myriad_lstm.gin'], bindings)
  assert hyperparameters({
      'gin_files': ['gin/myriad_lstm.gin'], 'gin_bindings': bindings, 'seed': 2}) == {
          'gin_file': 'myriad_lstm', 'seed': 2, 'SYSTEM': '@HIVTreatment', 'HORIZON': 7,
          'NUM_ENV_STEPS': 20_000, 'LSTM.hidden_sizes': '(4,)', 'PolicyLearner.clip_norm': 0.5}


def test_the_last_of_two_bindings_is_the_hyperparameter():
  bindings = ['PolicyLearner.clip_norm=0.5', 'import math', 'PolicyLearner.clip_norm=2']
  assert hyperparameters({'gin_bindings': bindings}) == {'PolicyLearner.clip_norm': 2}


def test_a_run_of_python_code_has_none_without_macros():
  assert hyperparameters({}) == {}
