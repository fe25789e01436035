"""Everything that a gin file may name.

No other module depends on gin, but for the copies of the configuration that a run
folder and TensorBoard hold.
"""

import gin

from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.models.history import HistoryModel
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.rnn import RNN
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer
from asm_tf.models.true_dynamics import make_true_dynamics
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.systems.registry import SYSTEMS
from asm_tf.training.train import train as _train
from asm_tf.training.trainer import Trainer

MODELS = (RNN, LSTM, SelfAttention, Transformer, StateSpace, Markov, HistoryModel,
          make_true_dynamics)

train = gin.configurable(_train)
for configurable in (*SYSTEMS.values(), *MODELS, RewardModel, SquashedGaussianActor,
                     make_asm_agent, Trainer):
  gin.external_configurable(configurable)
