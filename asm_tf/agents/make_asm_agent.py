"""An `AsmAgent` for a system: what needs the system's sizes is built here."""

from collections.abc import Callable

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.averaged_actor import AveragedActor
from asm_tf.agents.gradient_comparison import GradientComparison
from asm_tf.agents.model_learner import ModelLearner
from asm_tf.agents.model_validation import ModelValidation
from asm_tf.agents.policy_learner import PolicyLearner
from asm_tf.agents.reward_learner import RewardLearner
from asm_tf.agents.world import World
from asm_tf.errors import UserError
from asm_tf.gradients.policy_gradient import Actor
from asm_tf.models.continuation import ContinuationModel, RewardUntilTermination
from asm_tf.models.lstm import LSTM
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor


def make_asm_agent(
    setup: AgentSetup, world_model: Callable[..., SequenceModel] = LSTM,
    actor: Callable[..., Actor] = SquashedGaussianActor,
    reward_model: Callable[..., RewardModel] | None = None,
    model_learner: Callable[..., ModelLearner] = ModelLearner,
    policy_learner: Callable[..., PolicyLearner] = PolicyLearner,
    gradient_comparison: Callable[..., GradientComparison] = GradientComparison,
    agent: Callable[..., AsmAgent] = AsmAgent) -> AsmAgent:
  """Builds the agent of Algorithm 1.

  Args:
    setup: what the agent is built for.
    world_model: class of `SequenceModel`.
    actor: class of actor.
    reward_model: class of `RewardModel` to learn the reward with; None takes the system's
      own. Where episodes may end early, their end is learned beside it.
    model_learner: class of what fits the model; as the next three, a `functools.partial` of it
      changes settings in Python, as bindings of the class do in gin.
    policy_learner: class of what improves the policy.
    gradient_comparison: class of the observer of policy updates.
    agent: class of the agent.

  Raises:
    UserError: if the system has no reward of its own and none is learned.
  """
  system = setup.system
  sizes = system.state_size, system.action_size
  with setup.execution.creating_variables():
    normalizer = Normalizer(system.state_size, system.horizon)
    reward = _make_reward(system, normalizer, reward_model)
    world = World(world_model(normalizer, *sizes), reward, normalizer)
    policy = AveragedActor(lambda: actor(normalizer, *sizes))
  improver = policy_learner(policy, world, setup)
  comparison = gradient_comparison(improver, world, setup)
  return agent(
      setup, world, model_learner(world, setup), improver,
      reward_learner=None if reward_model is None else RewardLearner(reward, setup),
      gradient_comparison=comparison if comparison.period else None,
      model_validation=ModelValidation(world, setup))


def _make_reward(system, normalizer, reward_model):
  """The system's own reward or, to be learned, a reward model; see `make_asm_agent`."""
  if reward_model is None and not system.is_differentiable:
    raise UserError(f'the reward of {system.name} is not known as an equation: add '
                    '--gin_file=gin/agents/learned_reward.gin.')
  if reward_model is None:
    return system.reward
  reward = reward_model(normalizer, system.state_size, system.action_size)
  if system.has_fixed_length:
    return reward
  return RewardUntilTermination(reward, ContinuationModel(normalizer, system.state_size))
