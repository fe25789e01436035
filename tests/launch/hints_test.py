"""A binding that gin cannot read: the line says what was meant."""

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


def test_a_gin_file_without_its_flag_is_named(capsys):
  assert command_line._guarded(lambda: 0, ['gin/myriad_lstm.gin']) == 2
  assert '--gin_file=gin/myriad_lstm.gin is meant' in capsys.readouterr().err
