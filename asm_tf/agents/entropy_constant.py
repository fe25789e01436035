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
    of_episode: True gives `initial` for an episode, of whose H steps each counts 1/H of it: for
      problems of H steps, whose rewards count in units of the return's spread, so that the entropy
      weighs alike at every H.
  """

  initial: float = 1.0
  learned: bool = True
  learning_rate: float = 3e-4
  of_episode: bool = False

  def __post_init__(self):
    require_positive(**{'EntropyConstant.initial': self.initial,
                        'EntropyConstant.learning_rate': self.learning_rate})

  def initial_of_step(self, horizon: int) -> float:
    """Returns alpha, or its first value, for one step of a problem of H steps."""
    return self.initial / horizon if self.of_episode else self.initial
