"""Everything that a gin file may name.

No other module depends on gin, but for the copies of the configuration that run
folders, experiments and TensorBoard hold.
"""

import inspect

import gin

from asm_tf.agents.decision_transformer_agent import make_decision_transformer_agent
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.sac_agent import make_sac_agent
from asm_tf.agents.sequence_search_agent import make_sequence_search_agent
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.experiments import report
from asm_tf.experiments.attention import (
    analysis as attention_analysis, run as attention_run, sweep as attention_sweep)
from asm_tf.experiments.cells import run_cells
from asm_tf.experiments.double_pendulum import (
    analysis as double_pendulum_analysis, run as double_pendulum_run,
    sweep as double_pendulum_sweep)
from asm_tf.experiments.figure import figure as _figure
from asm_tf.experiments.gradient_accuracy import (
    analysis as gradient_accuracy_analysis, run as gradient_accuracy_run,
    sweep as gradient_accuracy_sweep)
from asm_tf.experiments.one_bounce import (
    analysis as one_bounce_analysis, run as one_bounce_run, sweep as one_bounce_sweep)
from asm_tf.experiments.sweep import run_sweep as _run_sweep
from asm_tf.experiments.theory import (
    analysis as theory_analysis, run as theory_run, sweep as theory_sweep)
from asm_tf.experiments.training_runs import preset_cells, training_cells as _training_cells
from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.models.history import HistoryModel
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.rnn import RNN
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer
from asm_tf.models.true_dynamics import make_true_dynamics
from asm_tf.policies.action_sequence import ActionSequence
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.replay.transition_replay_buffer import TransitionReplayBuffer
from asm_tf.systems.registry import SYSTEMS
from asm_tf.training.train import train as _train
from asm_tf.training.trainer import Trainer

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

# What is passed to them by whoever calls, so that a binding would have no effect; and dtype, since
# TF-Agents' environments and policies here are of float32.
_GIVEN = {
    Trainer: ('system', 'make_agent', 'seed', 'strategy'),
    TransitionReplayBuffer: ('data_spec', 'length', 'capacity', 'seed'),
    **dict.fromkeys(
        (make_asm_agent, make_sac_agent, make_decision_transformer_agent,
         make_sequence_search_agent),
        ('system', 'time_step_spec', 'action_spec', 'model_period', 'seed', 'strategy')),
    **dict.fromkeys((*SYSTEMS.values(), GymnasiumSystem), ('horizon', 'dtype')),
    **dict.fromkeys(
        (*MODELS, RewardModel, SquashedGaussianActor, ActionSequence, DecisionTransformer),
        ('normalizer', 'state_size', 'action_size', 'scale', 'dtype')),
}

train = gin.configurable(_train)
figure = gin.configurable(_figure)
run_sweep = gin.configurable(_run_sweep)
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
for _configurable in (run_cells, preset_cells):
  gin.external_configurable(_configurable)
