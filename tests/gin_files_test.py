"""Every gin file that a user may run builds the agent that its name promises."""

import json
import pathlib
import re

import gin
import pytest

from asm_tf import configurables  # pylint: disable=unused-import; gin knows the names by it
from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.decision_transformer_agent import DecisionTransformerAgent
from asm_tf.agents.sac_agent import SacAgent
from asm_tf.agents.sequence_search_agent import SequenceSearchAgent
from asm_tf.models.continuation import RewardUntilTermination
from asm_tf.models.history import HistoryModel
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.rnn import RNN
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.training import train as train_module
from launch import command_line
from launch import main as launch_main

REPOSITORY = pathlib.Path(__file__).parents[1]
FRAGMENTS = {'gin/paper/table_1.gin'}
FILES = sorted({str(path.relative_to(REPOSITORY)) for folder in ('gin', 'gin/paper')
                for path in (REPOSITORY / folder).glob('*.gin')} - FRAGMENTS)
LEARNED_REWARD = 'gin/agents/learned_reward.gin'

# A file is named <system>_<model>.gin.
SYSTEMS = {'myriad': 'CancerTreatment', 'credit_assignment': 'ToyCreditAssignment',
           'one_bounce': 'OneBounce', 'double_pendulum': 'DoublePendulum'}
MODELS = {'attention': SelfAttention, 'history_lstm': HistoryModel, 'lstm': LSTM,
          'history_transformer': HistoryModel, 'markov': Markov, 'rnn': RNN,
          'simulator': TrueDynamics, 'ssm': StateSpace, 'transformer': Transformer}
BASELINES = {'simulator_actions': AsmAgent, 'sac': SacAgent, 'sac_tuned': SacAgent,
             'odt': DecisionTransformerAgent,
             'odt_overshot': DecisionTransformerAgent, 'cem': SequenceSearchAgent,
             'random_search': SequenceSearchAgent}
CORES = {'history_lstm': LSTM, 'history_transformer': Transformer}
SMALL = ('HORIZON=4', 'Trainer.replay_capacity=100', 'make_asm_agent.jit_compile=False')

every_file = pytest.mark.parametrize('file', FILES)


class Built(Exception):
  """Ends `train` before it trains."""


pytestmark = pytest.mark.usefixtures('fresh_gin')


def build(files, root_dir, monkeypatch, *bindings):
  """The `Trainer` that launch.main makes of gin files."""
  trainers = []

  def stop(_, system, trainer, *rest):
    trainers.append(trainer)
    raise Built()

  monkeypatch.setattr(train_module, '_train', stop)
  with pytest.raises(Built):
    launch_main.run(files, [*SMALL, *bindings], str(root_dir))
  return trainers[0]


def includes(file):
  """The files that a gin file includes, and those that they include."""
  for found in re.findall(r"^include '(.*)'", (REPOSITORY / file).read_text(), re.MULTILINE):
    yield found
    yield from includes(found)


def promise(file):
  """(system, model) in the name of a file, or None for a name of another kind."""
  names = f'({"|".join(SYSTEMS)})_({"|".join(MODELS)})'
  found = re.fullmatch(names, pathlib.Path(file).stem)
  return found and found.groups()


@every_file
def test_configures_what_its_name_promises(file):
  command_line.parse_gin([file], ['HORIZON=4'])
  for macro in ('SYSTEM', 'HORIZON', 'NUM_ENV_STEPS'):
    assert gin.query_parameter(f'{macro}/gin.macro.value')
  is_paper = file.startswith('gin/paper/')
  assert is_paper == (not gin.config.get_bindings('make_asm_agent').get('normalize', True))
  if 'make_asm_agent' in str(gin.query_parameter('train.make_agent')):
    rate = gin.query_parameter('make_asm_agent.policy_learning_rate')
    is_actions = file == 'gin/myriad_simulator_actions.gin'
    assert rate == (1e-4 if is_paper else 1e-2 if is_actions else 1e-3)
  else:
    assert re.sub('^(myriad|gymnasium_pendulum)_', '', pathlib.Path(file).stem) in BASELINES
  if promise(file):
    system, model = promise(file)
    assert gin.query_parameter('SYSTEM/gin.macro.value').selector.endswith(SYSTEMS[system])
    found = {fragment for fragment in includes(file) if fragment.startswith('gin/models/')}
    assert f'gin/models/{model}.gin' in found


@pytest.mark.parametrize('model', MODELS)
def test_builds_the_agent(model, tmp_path, monkeypatch):
  trainer = build([f'gin/myriad_{model}.gin'], tmp_path / 'run', monkeypatch)
  assert trainer.system.name == 'CancerTreatment' and trainer.system.horizon == 4
  world_model = trainer.agent.world_model
  assert type(world_model) is MODELS[model]
  if model in CORES:
    assert type(world_model._sequence_model) is CORES[model]  # pylint: disable=protected-access


@pytest.mark.parametrize('name', BASELINES)
def test_builds_the_baseline(name, tmp_path, monkeypatch):
  # The decision transformer needs a stored optimum, which H = 4 has none of.
  trainer = build([f'gin/myriad_{name}.gin'], tmp_path / 'run', monkeypatch, 'HORIZON=20')
  assert type(trainer.agent) is BASELINES[name]


@pytest.mark.parametrize('name, agent', [
    ('gymnasium_pendulum', AsmAgent), ('gymnasium_pendulum_sac', SacAgent)])
def test_builds_the_agent_of_a_gymnasium_environment(name, agent, tmp_path, monkeypatch):
  trainer = build([f'gin/{name}.gin'], tmp_path / 'run', monkeypatch)
  assert type(trainer.agent) is agent
  system = trainer.system
  assert (system.name, system.horizon, system.has_fixed_length) == ('Pendulum-v1', 4, True)
  if agent is AsmAgent:
    # pylint: disable=protected-access
    assert type(trainer.agent._reward) is RewardModel


def test_another_gymnasium_environment_is_a_binding(tmp_path, monkeypatch):
  # pylint: disable=protected-access
  trainer = build(['gin/gymnasium_pendulum.gin'], tmp_path / 'run', monkeypatch,
                  "ENVIRONMENT='MountainCarContinuous-v0'", 'CAN_TERMINATE=True')
  assert trainer.system.name == 'MountainCarContinuous-v0'
  assert type(trainer.agent._reward) is RewardUntilTermination


def test_sac_has_the_numbers_of_table_2(tmp_path, monkeypatch):
  # pylint: disable=protected-access
  trainer = build(['gin/myriad_sac.gin'], tmp_path / 'run', monkeypatch, 'HORIZON=20')
  agent, tables = trainer.agent, gin.query_parameter
  assert agent._gamma == tables('make_sac_agent.discount') == 0.995
  assert tables('make_sac_agent.target_update_tau') == 0.005
  assert (trainer._batch_size, trainer._model_period, trainer._warmup_steps) == (128, 2, 1500)
  assert agent._policy_updates_every * trainer._model_period == 16
  assert not agent._learn_entropy_constant
  widths = [layer.units for layer in agent._critic_network_1._joint_layers[:-1]
            if hasattr(layer, 'units')]
  assert widths == [256, 256]


def test_the_learned_reward_is_a_second_file(tmp_path, monkeypatch):
  # pylint: disable=protected-access
  given, learned = (
      build(files, tmp_path / f'run_{len(files)}', monkeypatch).agent._reward
      for files in (['gin/myriad_lstm.gin'], ['gin/myriad_lstm.gin', LEARNED_REWARD]))
  assert not isinstance(given, RewardModel) and isinstance(learned, RewardModel)


def test_every_system_has_every_model():
  for folder, systems, models in (
      ('gin', SYSTEMS, set(MODELS)), ('gin/paper', ['myriad'], set(MODELS) - {'simulator'})):
    expected = {f'{folder}/{system}_{model}.gin' for system in systems for model in models}
    assert expected <= set(FILES)


def test_every_model_fragment_is_used():
  used = {fragment for file in FILES for fragment in includes(file)}
  fragments = {str(path.relative_to(REPOSITORY))
               for path in (REPOSITORY / 'gin' / 'models').glob('*.gin')}
  assert fragments and fragments <= used


def test_a_run_of_two_files(tmp_path):
  """A model other than the LSTM, and a second file for the reward."""
  files = ('gin/one_bounce_markov.gin', LEARNED_REWARD)
  bindings = ('NUM_ENV_STEPS=32', 'Trainer.warmup_steps=8', 'Trainer.batch_size=4',
              'make_asm_agent.parts=1', 'train.eval_interval=16')
  assert launch_main.run(files, [*SMALL, *bindings], str(tmp_path / 'run')) == 0
  rows = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert [row['env_steps'] for row in rows] == [0, 16, 32]
  assert rows[0]['reward_loss'] is None  # nothing measured yet
  assert rows[-1]['updates'] == 12 and rows[-1]['model_loss'] > 0 and rows[-1]['reward_loss'] >= 0
