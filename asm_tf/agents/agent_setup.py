"""What every agent is built for."""

import dataclasses

import tensorflow as tf
from tf_agents.trajectories import time_step as ts

from asm_tf.agents.execution import Execution
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.random_streams import Stream, make_generator
from asm_tf.systems.system import System


@dataclasses.dataclass(frozen=True)
class AgentSetup:
  """What a trainer tells an agent's builder; all else is the agent's own configuration.

  Attributes:
    system: what is to be controlled: sizes, horizon and, where it is known, the reward.
    time_step_spec: of the environment, with observations [n+1].
    action_spec: of the environment, [m] in [-1, 1].
    model_period: environment steps per `train` call.
    seed: of all random draws but those of the initial weights, which follow TensorFlow's own seed.
    execution: how updates run on this machine.
    window: k, the steps of the sequences that the agent learns from and imagines; None for H.
  """

  system: System | GymnasiumSystem
  time_step_spec: ts.TimeStep
  action_spec: tf.TypeSpec
  model_period: int
  seed: int
  execution: Execution
  window: int | None = None

  @property
  def steps(self) -> int:
    """k, or H."""
    return self.window or self.system.horizon

  @property
  def has_windows(self) -> bool:
    """Whether sequences begin anywhere in an episode."""
    return self.window is not None

  @property
  def has_full_sequences(self) -> bool:
    """Whether no sequence ends before its last step."""
    return self.window is None and self.system.has_fixed_length

  @property
  def last_step(self) -> int | None:
    """H where nothing counts from there on; None where it only cuts episodes short."""
    return self.system.horizon if self.system.time_aware else None

  def generator(self, stream: Stream) -> tf.random.Generator:
    """Returns the seed's generator of a stream."""
    return make_generator(self.seed, stream)


def refuse_weights(weights: tf.Tensor | None, of: str) -> None:
  """Raises `NotImplementedError` where a caller of `train` or `loss` gives weights.

  Args:
    weights: that TF-Agents hands on.
    of: what they would weigh.
  """
  if weights is not None:
    raise NotImplementedError(f'weights of {of} have no meaning for this agent.')
