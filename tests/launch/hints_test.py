"""A binding that gin cannot read: the line says what was meant."""

import signal

import pytest

from asm_tf import configurables  # noqa: F401  what gin knows
from asm_tf.errors import UserError
from launch import command_line


@pytest.mark.parametrize(('binding', 'meant'), [
    ('SYSTEM=CancerTreatment', 'SYSTEM=@CancerTreatment is meant'),
    ('SYSTEM=@CancerTreatmnt', 'Is @CancerTreatment meant?'),
    ('SYSTEM=CancrTreatment', 'or SYSTEM=@CancerTreatment'),
    ('ENVIRONMENT=Pendulum-v1', "ENVIRONMENT='Pendulum-v1' is meant, a text in quotes"),
    ("ModelLearner.loss_weighting=uniform", "ModelLearner.loss_weighting='uniform' is meant"),
    ('Trainr.batch_size=3', 'Is Trainer or train meant?'),
    ('LSTM.hiden_sizes=(3,)', 'Is hidden_sizes meant?'),
    ('TrainingLoop.x=3', 'It has num_env_steps, eval_interval, checkpoint_interval.'),
    ('make_asm_agent.feedback=1', 'is PolicyLearner.closed_loop_weight now'),
    ('HORIZON', 'A binding is NAME=VALUE'),
    ('HORIZON=20x', 'A binding is NAME=VALUE')])
def test_the_line_says_what_is_meant(binding, meant, fresh_gin):
  with pytest.raises(UserError) as raised:
    command_line.parse_gin(['gin/gymnasium.gin'], [binding])
  assert meant in raised.value.message
  assert '\n' not in raised.value.message


def test_a_run_whose_output_nobody_reads_is_not_finished(monkeypatch, tmp_path):
  def main():
    raise BrokenPipeError

  with (tmp_path / 'out').open('w') as out:  # its descriptor is redirected
    monkeypatch.setattr('sys.stdout', out)
    assert command_line._guarded(main) == 128 + signal.SIGPIPE


def test_files_that_a_binding_includes_are_looked_at(tmp_path, fresh_gin):
  (tmp_path / 'own.gin').write_text('import trap\n')
  loop = tmp_path / 'loop.gin'
  loop.write_text(f"include '{loop}'\n")
  for name, meant in (('own', '--allow_gin_imports'), ('loop', 'includes itself')):
    with pytest.raises(UserError, match=meant):
      command_line.parse_gin(['gin/myriad_lstm.gin'], [f"include '{tmp_path}/{name}.gin'"])


def test_a_gin_file_without_its_flag_is_named(capsys):
  assert command_line._guarded(lambda: 0, ['gin/myriad_lstm.gin']) == 2
  assert '--gin_file=gin/myriad_lstm.gin is meant' in capsys.readouterr().err
