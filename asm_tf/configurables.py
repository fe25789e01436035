"""Everything that a gin file may name.

No other module depends on gin, but for the copies of the configuration that run
folders, experiments and TensorBoard hold.
"""

import inspect
from collections.abc import Callable

import gin

from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.averaged_actor import AveragedActor
from asm_tf.agents.critic import Critic
from asm_tf.agents.critic_learner import CriticLearner
from asm_tf.agents.decision_transformer_agent import (
  DecisionTransformerAgent,
  make_decision_transformer_agent,
)
from asm_tf.agents.entropy_constant import EntropyConstant
from asm_tf.agents.execution import Execution
from asm_tf.agents.gradient_comparison import GradientComparison
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.model_learner import ModelLearner
from asm_tf.agents.model_validation import ModelValidation
from asm_tf.agents.policy_learner import PolicyLearner
from asm_tf.agents.reward_learner import RewardLearner
from asm_tf.agents.reward_units import RewardUnits
from asm_tf.agents.sac_agent import SoftActorCritic, make_sac_agent
from asm_tf.agents.sac_networks import SacNetworks
from asm_tf.agents.sequence_search_agent import SequenceSearchAgent, make_sequence_search_agent
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.experiments import report
from asm_tf.experiments.attention import analysis as attention_analysis
from asm_tf.experiments.attention import run as attention_run
from asm_tf.experiments.attention import sweep as attention_sweep
from asm_tf.experiments.cells import run_cells
from asm_tf.experiments.double_pendulum import analysis as double_pendulum_analysis
from asm_tf.experiments.double_pendulum import run as double_pendulum_run
from asm_tf.experiments.double_pendulum import sweep as double_pendulum_sweep
from asm_tf.experiments.figure import figure as _figure
from asm_tf.experiments.gradient_accuracy import analysis as gradient_accuracy_analysis
from asm_tf.experiments.gradient_accuracy import run as gradient_accuracy_run
from asm_tf.experiments.gradient_accuracy import sweep as gradient_accuracy_sweep
from asm_tf.experiments.one_bounce import analysis as one_bounce_analysis
from asm_tf.experiments.one_bounce import run as one_bounce_run
from asm_tf.experiments.one_bounce import sweep as one_bounce_sweep
from asm_tf.experiments.sweep import run_sweep as _run_sweep
from asm_tf.experiments.theory import analysis as theory_analysis
from asm_tf.experiments.theory import run as theory_run
from asm_tf.experiments.theory import sweep as theory_sweep
from asm_tf.experiments.training_runs import preset_cells
from asm_tf.experiments.training_runs import training_cells as _training_cells
from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.models.history import HistoryModel
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.rnn import RNN
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer
from asm_tf.models.true_dynamics import make_true_dynamics
from asm_tf.policies.action_sequence import ActionSequence
from asm_tf.policies.colored_noise import ColoredNoise
from asm_tf.policies.returns_to_go import ReturnsToGo
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.policies.uniform_steps import UniformSteps
from asm_tf.replay.episode_replay_buffer import EpisodeReplayBuffer
from asm_tf.replay.window_replay_buffer import WindowReplayBuffer
from asm_tf.systems.registry import SYSTEMS
from asm_tf.training.train import train as _train
from asm_tf.training.trainer import Trainer
from asm_tf.training.training_loop import TrainingLoop

MODELS = (RNN, LSTM, SelfAttention, Transformer, StateSpace, Markov, HistoryModel,
          make_true_dynamics)

# {experiment: (sweep, run, analysis)}; gin calls their functions @<experiment>.cells and so on.
EXPERIMENTS = {
    'gradient_accuracy': (
        gradient_accuracy_sweep, gradient_accuracy_run, gradient_accuracy_analysis),
    'double_pendulum': (double_pendulum_sweep, double_pendulum_run, double_pendulum_analysis),
    'one_bounce': (one_bounce_sweep, one_bounce_run, one_bounce_analysis),
    'attention': (attention_sweep, attention_run, attention_analysis),
    'theory': (theory_sweep, theory_run, theory_analysis),
}

# What callers pass themselves, so that a binding would have no effect; and dtype, since
# TF-Agents' environments and the policies here are of float32.
_GIVEN: dict[Callable, tuple[str, ...]] = {
    Trainer: ('system', 'make_agent', 'seed', 'execution'),
    **dict.fromkeys((*SYSTEMS.values(), GymnasiumSystem), ('horizon', 'dtype')),
    **dict.fromkeys(
        (*MODELS, RewardModel, SquashedGaussianActor, ActionSequence, DecisionTransformer),
        ('normalizer', 'state_size', 'action_size', 'dtype')),
    **dict.fromkeys((make_asm_agent, make_decision_transformer_agent, make_sac_agent,
                     make_sequence_search_agent), ('setup',)),
}
# Classes that the library constructs: gin binds their constructors in place.
_CONSTRUCTED: dict[type, tuple[str, ...]] = {
    EpisodeReplayBuffer: ('data_spec', 'length', 'seed', 'integer_dtype'),
    WindowReplayBuffer: ('data_spec', 'length', 'window', 'seed', 'integer_dtype'),
    Normalizer: ('state_size', 'horizon', 'dtype', 'time_aware'),
    ColoredNoise: ('generator', 'horizon', 'action_size'),
    UniformSteps: ('generator', 'horizon'),
    Execution: ('strategy',),
    TrainingLoop: (),
    AsmAgent: ('setup', 'world', 'model_learner', 'policy_learner', 'other_learners',
               'gradient_comparison', 'model_validation'),
    Critic: ('setup', 'normalizer'),
    CriticLearner: ('critic', 'actor', 'setup'),
    ModelLearner: ('world', 'setup'),
    RewardLearner: ('reward', 'setup'),
    PolicyLearner: ('actor', 'world', 'setup'),
    AveragedActor: ('make_actor',),
    ModelValidation: ('world', 'setup'),
    GradientComparison: ('policy_learner', 'world', 'setup'),
    DecisionTransformerAgent: ('setup', 'model', 'returns'),
    ReturnsToGo: ('target', 'scale', 'horizon'),
    SequenceSearchAgent: ('setup',),
    SoftActorCritic: ('setup', 'networks', 'entropy_constant'),
    RewardUnits: ('setup', 'enabled'),
    SacNetworks: ('setup',),
    EntropyConstant: (),
}

train = gin.configurable(_train, denylist=['options'])
figure = gin.configurable(_figure, denylist=['preset', 'folder'])
run_sweep = gin.configurable(_run_sweep, denylist=['folder', 'cells'])
training_cells = gin.configurable(_training_cells)
for _name, (_sweep, _run, _analysis) in EXPERIMENTS.items():
  for _function in (_sweep.cells, _run.run, _analysis.table, _analysis.draw):
    gin.external_configurable(_function, module=_name)
for _function in (report.tables, report.pictures):
  gin.external_configurable(_function, module='report')
for _configurable, _given in _GIVEN.items():
  _parameters = inspect.signature(_configurable).parameters
  gin.external_configurable(
      _configurable, denylist=[name for name in _given if name in _parameters])
for _class, _given in _CONSTRUCTED.items():
  gin.configurable(_class, denylist=list(_given))
gin.external_configurable(run_cells, denylist=['folder', 'cells'])
gin.external_configurable(preset_cells, denylist=['preset'])
