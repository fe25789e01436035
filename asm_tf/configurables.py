"""Everything that a gin file may name.

No other module depends on gin, but for the copies of the configuration that a run
folder and TensorBoard hold.
"""

import gin

from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.models.lstm import LSTM
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.systems.registry import SYSTEMS
from asm_tf.training.train import train as _train
from asm_tf.training.trainer import Trainer

train = gin.configurable(_train)
for configurable in (*SYSTEMS.values(), LSTM, SquashedGaussianActor, make_asm_agent, Trainer):
  gin.external_configurable(configurable)
