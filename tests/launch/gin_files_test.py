"""Every gin file that a user may run builds the agent that its name promises."""

import json
import pathlib
import re

import gin
import pytest

from asm_tf import configurables  # noqa: F401, registers what gin files name
from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.decision_transformer_agent import DecisionTransformerAgent
from asm_tf.agents.sac_agent import SoftActorCritic
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
from asm_tf.training.curves import CURVES
from benchmarks import soak
from launch import command_line
from launch import main as launch_main
from tests.support.paths import REPOSITORY

FRAGMENTS = {'gin/paper/table_1.gin'}
FILES = sorted({str(path.relative_to(REPOSITORY)) for folder in ('gin', 'gin/paper')
                for path in (REPOSITORY / folder).glob('*.gin')} - FRAGMENTS)
LEARNED_REWARD = 'gin/agents/learned_reward.gin'

# An LSTM by default; a second file gin/models/<model>.gin chooses another model.
SYSTEMS = {'credit_assignment': 'ToyCreditAssignment', 'one_bounce': 'OneBounce',
           'double_pendulum': 'DoublePendulum'}
MODELS = {'attention': SelfAttention, 'history_lstm': HistoryModel, 'lstm': LSTM,
          'history_transformer': HistoryModel, 'markov': Markov, 'markov_unscaled': Markov,
          'rnn': RNN,
          'simulator': TrueDynamics, 'ssm': StateSpace, 'transformer': Transformer}
BASELINES = {'simulator_actions': AsmAgent, 'sac': SoftActorCritic, 'sac_tuned': SoftActorCritic,
             'odt': DecisionTransformerAgent,
             'odt_overshot': DecisionTransformerAgent, 'cem': SequenceSearchAgent,
             'random_search': SequenceSearchAgent}
CORES = {'history_lstm': LSTM, 'history_transformer': Transformer}
SMALL = ('HORIZON=4', 'EpisodeReplayBuffer.capacity=100', 'Execution.jit_compile=False')

every_file = pytest.mark.parametrize('file', FILES)


class Built(Exception):
  """Ends `train` before it trains."""


pytestmark = pytest.mark.usefixtures('fresh_gin')


def build(files, root_dir, monkeypatch, *bindings):
  """The `Trainer` that launch.main makes of gin files."""
  trainers = []

  def stop(_, trainer, *rest):
    trainers.append(trainer)
    raise Built()

  monkeypatch.setattr(train_module, '_train', stop)
  with pytest.raises(Built):
    launch_main.run(launch_main.Configuration(files, [*SMALL, *bindings]), str(root_dir))
  assert trainers[0].metrics().keys() <= CURVES.keys()  # TensorBoard can describe them
  return trainers[0]


def includes(file):
  """The files that a gin file includes, and those that they include."""
  for found in re.findall(r"^include '(.*)'", (REPOSITORY / file).read_text(), re.MULTILINE):
    yield found
    yield from includes(found)


@every_file
def test_configures_what_its_name_promises(file):
  command_line.parse_gin([file], ['HORIZON=4'])
  for macro in ('SYSTEM', 'HORIZON', 'NUM_ENV_STEPS'):
    assert gin.query_parameter(f'{macro}/gin.macro.value')
  is_paper = file.startswith('gin/paper/')
  assert is_paper == (not gin.config.get_bindings('Normalizer').get('enabled', True))
  if 'make_asm_agent' in str(gin.query_parameter('train.make_agent')):
    rate = gin.query_parameter('PolicyLearner.learning_rate')
    others = {'gin/myriad_simulator_actions.gin': 1e-2, 'gin/gymnasium.gin': 3e-4}
    assert rate == (1e-4 if is_paper else others.get(file, 1e-3))
  else:
    assert re.sub('^(myriad|gymnasium)_', '', pathlib.Path(file).stem) in BASELINES
  stem = pathlib.Path(file).stem
  system = SYSTEMS.get(stem, 'GymnasiumSystem' if 'gymnasium' in stem else 'CancerTreatment')
  assert gin.query_parameter('SYSTEM/gin.macro.value').selector.endswith(system)
  model = 'lstm' if stem in SYSTEMS else stem.removeprefix('myriad_')
  if model in MODELS:
    found = {fragment for fragment in includes(file) if fragment.startswith('gin/models/')}
    assert f'gin/models/{model}.gin' in found


@every_file
def test_the_papers_files_leave_the_recipe_out(file):
  command_line.parse_gin([file], ['HORIZON=4'])
  is_search = re.search('cem|random_search', file) is not None  # which explores by itself
  recipe = {} if 'gymnasium' in file or is_search else {
      'ColoredNoise.exponent': (0.0, 2.0), 'UniformSteps.per_episode': (0, 6)}
  if 'make_asm_agent' in str(gin.query_parameter('train.make_agent')):
    recipe |= {
        'AveragedActor.rate': (1.0, 0.02),
        'EpisodeReplayBuffer.batch_steps': (None, 2048), 'Normalizer.margin': (None, 1.0)}
    if 'simulator' not in file:
      is_given_states = re.search('markov|history', file) is not None
      recipe['ModelLearner.loss_weighting'] = (
          'uniform', 'uniform' if is_given_states else 'inverse_time')
  is_ours = not file.startswith('gin/paper/')
  for binding, values in recipe.items():
    assert gin.query_parameter(binding) == values[is_ours], binding
  if not is_ours:
    assert gin.query_parameter('ModelValidation.scale_updates') is False
    assert gin.query_parameter('LSTM.chrono_initialization') is False
    assert gin.query_parameter('Markov.scale_differences') is False


@pytest.mark.parametrize('model', ['markov', 'markov_unscaled'])
def test_the_one_step_model_is_there_in_both_units(model, tmp_path, monkeypatch):
  trainer = build([f'gin/myriad_{model}.gin'], tmp_path / 'run', monkeypatch)
  assert trainer.agent.world.model._scale_differences == (model == 'markov')


@pytest.mark.parametrize('system', SYSTEMS)
@pytest.mark.parametrize('model', ['lstm', 'markov', 'history_lstm'])
def test_a_second_file_chooses_the_model_of_a_system(system, model, tmp_path, monkeypatch):
  trainer = build([f'gin/{system}.gin', f'gin/models/{model}.gin'], tmp_path / 'run', monkeypatch)
  assert trainer.system.name == SYSTEMS[system]
  assert type(trainer.agent.world.model) is MODELS[model]


@pytest.mark.parametrize('model', MODELS)
def test_builds_the_agent(model, tmp_path, monkeypatch):
  trainer = build([f'gin/myriad_{model}.gin'], tmp_path / 'run', monkeypatch)
  assert trainer.system.name == 'CancerTreatment'
  assert trainer.system.horizon == 4
  world_model = trainer.agent.world.model
  assert type(world_model) is MODELS[model]
  if model in CORES:
    assert type(world_model._sequence_model) is CORES[model]


@pytest.mark.parametrize('name', BASELINES)
def test_builds_the_baseline(name, tmp_path, monkeypatch):
  # The decision transformer needs a stored optimum, which H = 4 has none of.
  trainer = build([f'gin/myriad_{name}.gin'], tmp_path / 'run', monkeypatch, 'HORIZON=20')
  assert type(trainer.agent) is BASELINES[name]


@pytest.mark.parametrize(('name', 'agent'), [
    ('gymnasium', AsmAgent), ('gymnasium_sac', SoftActorCritic)])
def test_builds_the_agent_of_a_gymnasium_environment(name, agent, tmp_path, monkeypatch):
  trainer = build([f'gin/{name}.gin'], tmp_path / 'run', monkeypatch)
  assert type(trainer.agent) is agent
  system = trainer.system
  assert (system.name, system.horizon, system.time_aware) == ('Pendulum-v1', 4, False)
  assert trainer.agent.train_sequence_length == (4 if agent is AsmAgent else 2)


def test_another_gymnasium_environment_is_a_binding(tmp_path, monkeypatch):
  trainer = build(['gin/gymnasium.gin'], tmp_path / 'run', monkeypatch,
                  "ENVIRONMENT='MountainCarContinuous-v0'", 'HORIZON=None')
  assert (trainer.system.name, trainer.system.horizon) == ('MountainCarContinuous-v0', 999)
  assert type(trainer.agent.world.reward) is RewardUntilTermination


def test_sac_has_the_numbers_of_table_2(tmp_path, monkeypatch):
  trainer = build(['gin/myriad_sac.gin'], tmp_path / 'run', monkeypatch, 'HORIZON=20')
  agent, tables = trainer.agent, gin.query_parameter
  assert agent._gamma == tables('SoftActorCritic.discount') == 0.995
  assert tables('SoftActorCritic.target_update_tau') == 0.005
  assert (trainer.batch_size, trainer.model_period, trainer.warmup_steps) == (128, 2, 1500)
  assert agent._policy_updates_every * trainer.model_period == 16
  assert not agent._learn_entropy_constant
  widths = [layer.units for layer in agent._critic_network_1._joint_layers[:-1]
            if hasattr(layer, 'units')]
  assert widths == [256, 256]


def test_the_learned_reward_is_a_second_file(tmp_path, monkeypatch):
  given, learned = (
      build(files, tmp_path / f'run_{len(files)}', monkeypatch).agent.world.reward
      for files in (['gin/myriad_lstm.gin'], ['gin/myriad_lstm.gin', LEARNED_REWARD]))
  assert not isinstance(given, RewardModel)
  assert isinstance(learned, RewardModel)


def test_myriad_has_every_model():
  ours_alone = {'simulator', 'markov_unscaled'}
  for folder, models in (('gin', set(MODELS)), ('gin/paper', set(MODELS) - ours_alone)):
    assert {f'{folder}/myriad_{model}.gin' for model in models} <= set(FILES)


def test_every_model_fragment_is_used():
  used = {fragment for file in FILES for fragment in includes(file)}
  fragments = {str(path.relative_to(REPOSITORY))
               for path in (REPOSITORY / 'gin' / 'models').glob('*.gin')}
  assert fragments
  assert fragments <= used


def test_a_run_of_three_files(tmp_path):
  """A system, a model other than the LSTM, and a learned reward."""
  files = ('gin/one_bounce.gin', 'gin/models/markov.gin', LEARNED_REWARD)
  bindings = ('NUM_ENV_STEPS=32', 'Trainer.warmup_steps=8', 'Trainer.batch_size=4',
              'Execution.microbatches=1', 'TrainingLoop.eval_interval=16')
  configuration = launch_main.Configuration(files, [*SMALL, *bindings])
  assert launch_main.run(configuration, str(tmp_path / 'run')) == 0
  rows = [json.loads(line) for line in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert [row['env_steps'] for row in rows] == [0, 16, 32]
  assert rows[0]['reward_loss'] is None  # nothing measured yet
  assert rows[-1]['updates'] == 12
  assert rows[-1]['model_loss'] > 0
  assert rows[-1]['reward_loss'] >= 0


def test_the_soak_binds_what_there_is():
  for file, bindings in soak.RUNS.values():
    command_line.parse_gin([file], [*soak.SMALL, *bindings])
    gin.clear_config()


def test_bindings_that_nothing_reads_are_named(tmp_path, caplog):
  bindings = ('NUM_ENV_STEPS=12', 'Trainer.warmup_steps=6', 'ModelLearner.learning_rate=7',
              'SequenceSearchAgent.refit=False', 'train.horizon=6')
  launch_main.run(launch_main.Configuration(['gin/myriad_cem.gin'], [*SMALL, *bindings]),
                  str(tmp_path / 'run'))
  named = [record.getMessage().split('=')[1] for record in caplog.records
           if 'changes nothing' in record.getMessage()]
  assert 'ModelLearner.learning_rate' in named
  assert not {'SequenceSearchAgent.refit', 'train.horizon', 'NUM_ENV_STEPS'} & set(named)
