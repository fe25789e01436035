"""What an accelerator is given is exported without one, and what it costs is read off."""

import subprocess
import sys

import pytest
import tensorflow as tf

from asm_tf.models.linear_recurrence import linear_recurrence
from asm_tf.models.unrolling import chunks, has_accelerator, made_for
from benchmarks import export_programs, hlo_cost, tpu_programs
from tests.support.paths import REPOSITORY

SMALL = ('StateSpace.embedding_size = 4', 'StateSpace.num_layers = 1',
         'StateSpace.hidden_size = 4', 'SquashedGaussianActor.hidden_sizes = (4,)',
         'RewardModel.hidden_sizes = (4,)')
PROGRAMS = {
    'model_validation.validate_model', 'model_learner.loss_and_gradient',
    'model_learner.apply_gradient', 'reward_learner.loss_and_gradient',
    'reward_learner.apply_gradient', 'gradient_comparison.compare_gradients',
    'policy_learner.imagine', 'policy_learner.apply_gradient'}

COMPILED = '''HloModule jit_f

%fused (p.1: f32[8,4], p.2: f32[4,16]) -> f32[8,16] {
  %p.1 = f32[8,4]{1,0} parameter(0)
  %p.2 = f32[4,16]{1,0} parameter(1)
  ROOT %c = f32[8,16]{1,0} convolution(%p.1, %p.2), dim_labels=bf_io->bf
}

%body (t: (s32[], f32[8,4], f32[4,16], s32[])) -> (s32[], f32[8,4], f32[4,16], s32[]) {
  %t = (s32[], f32[8,4], f32[4,16], s32[]) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%t), index=1
  %w = f32[4,16]{1,0} get-tuple-element(%t), index=2
  %f = f32[8,16]{1,0} fusion(%x, %w), calls=%fused, backend_config={"estimated_cycles":"7"}
}

%condition (u: (s32[], f32[8,4], f32[4,16], s32[])) -> pred[] {
  %u = (s32[], f32[8,4], f32[4,16], s32[]) parameter(0)
  %i = s32[] get-tuple-element(%u), index=0
  %n = s32[] get-tuple-element(%u), index=3
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (a: f32[8,4], b: f32[4,16]) -> f32[] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[4,16]{1,0} parameter(1)
  %zero = s32[] constant(0)
  %five = s32[] constant(5)
  %begin = (s32[], f32[8,4], f32[4,16], s32[]) tuple(%zero, %a, %b, /*index=3*/%five)
  %loop = (s32[], f32[8,4], f32[4,16], s32[]) while(%begin), condition=%condition, body=%body
  %end = s32[] get-tuple-element(%loop), index=3
  %again = (s32[], f32[8,4], f32[4,16], s32[]) tuple(%zero, %a, %b, %end)
  %other = (s32[], f32[8,4], f32[4,16], s32[]) while(%again), condition=%condition, body=%body
  ROOT %r = f32[] copy(%b), backend_config={"estimated_cycles":"3"}
}
'''


@pytest.mark.parametrize('accelerator', [True, False])
def test_the_setting_chooses_the_form(accelerator):
  before, ones = has_accelerator(), tf.ones([6, 2, 3])
  with made_for(accelerator):
    traced = tf.function(lambda v: linear_recurrence(
        ones[0, 0], ones[0, 0], v, v, ones[0], ones[0]), autograph=False)
    kinds = [node.op for node in traced.get_concrete_function(ones).graph.as_graph_def().node]
    assert any('While' in kind for kind in kinds) != accelerator
    assert len(chunks(6, 2)) == (1 if accelerator else 3)
  assert has_accelerator() == before


@pytest.mark.parametrize(('chips', 'reduces'), [(1, False), (4, True)])
def test_every_program_of_an_agent_is_exported(chips, reduces, fresh_gin):
  exported = export_programs.programs('ssm', 4, chips=chips, bindings=SMALL)
  assert set(exported) == PROGRAMS
  for name, hlo in exported.items():
    is_gradient = name.split('.')[1] in ('loss_and_gradient', 'imagine')
    assert (b'all-reduce' in hlo) == (reduces and is_gradient), name
  # All states at once; only the imagination goes step by step.
  assert b'while' not in exported['model_learner.loss_and_gradient']
  assert b'while' in exported['policy_learner.imagine']


def test_loops_count_as_often_as_they_turn():
  assert hlo_cost.cost(COMPILED) == (2 * 5 * 7 + 3, 2 * 5 * 2 * 8 * 4 * 16)
  with pytest.raises(ValueError, match='unknown length'):
    hlo_cost.cost(COMPILED.replace('s32[] constant(5)', 's32[] add(%zero, %zero)'))


@pytest.mark.parametrize(('flags', 'complaint'), [
    (['--models=gru'], "--models has 'gru'"),
    (['--topologies=v1'], "--topologies has 'v1'"),
    (['--dtypes=float16'], "--dtypes has 'float16'"),
    (['--times=0'], "--times has '0'"),
    ([f'--jax_python={sys.executable}', '--out=/dev/null'], 'has no jax and libtpu')])
def test_bad_input_is_one_line(flags, complaint):
  done = subprocess.run([sys.executable, '-m', 'benchmarks.tpu_programs', *flags], text=True,
                        cwd=REPOSITORY, capture_output=True, check=False)
  assert done.returncode == 2
  assert complaint in done.stderr
  assert done.stderr.count('\n') == 1


def test_the_table_shows_failures():
  cell = {'model': 'lstm', 'horizon': 20, 'dtype': 'float32', 'times': 1, 'chips': 4,
          'topology': 'v5e'}
  rows = [cell | {'program': 'policy_learner.imagine', 'error': 'too large'},
          cell | {'program': 'model_learner.loss_and_gradient', 'compile_seconds': 3.2,
                  'temp_bytes': 2**20, 'estimated_seconds': 2e-3, 'share_of_peak': 0.05},
          cell | {'program': 'model_learner.apply_gradient', 'compile_seconds': 1.5}]
  assert tpu_programs.table(rows).splitlines()[-1] == (
      '| lstm | 20 | float32 | x 1 | v5e x 4 | 3 / 1 / 2 / 5.00% | failed |  | 1.5 | 1 |')
