"""How much the entropy of a policy counts beside its return."""

import dataclasses

from asm_tf.errors import require_positive


@dataclasses.dataclass(frozen=True)
class EntropyConstant:
  """The entropy constant alpha, in units of the rewards that the critic sees.

  Attributes:
    initial: alpha, or its first value.
    learned: True moves alpha until the entropy of a step is -m/2 nats, TF-Agents' target; False
      keeps it.
    learning_rate: of Adam, where it is learned.
  """

  initial: float = 1.0
  learned: bool = True
  learning_rate: float = 3e-4

  def __post_init__(self):
    require_positive(**{'EntropyConstant.initial': self.initial,
                        'EntropyConstant.learning_rate': self.learning_rate})
