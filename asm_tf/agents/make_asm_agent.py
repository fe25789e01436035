"""An `AsmAgent` for a system: what needs the system's sizes is built here."""

import dataclasses
from collections.abc import Callable

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.averaged_actor import AveragedActor
from asm_tf.agents.critic import Critic
from asm_tf.agents.critic_learner import CriticLearner
from asm_tf.agents.gradient_comparison import GradientComparison
from asm_tf.agents.model_learner import ModelLearner
from asm_tf.agents.model_validation import ModelValidation
from asm_tf.agents.policy_learner import PolicyLearner
from asm_tf.agents.reward_learner import RewardLearner
from asm_tf.agents.window_validation import WindowValidation
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
    critic: Callable[..., Critic] | None = None,
    model_learner: Callable[..., ModelLearner] = ModelLearner,
    policy_learner: Callable[..., PolicyLearner] = PolicyLearner,
    agent: Callable[..., AsmAgent] = AsmAgent) -> AsmAgent:
  """Builds the agent of Algorithm 1.

  Args:
    setup: what the agent is built for.
    world_model: class of `SequenceModel`.
    actor: class of actor.
    reward_model: class of `RewardModel` to learn the reward with; None takes the system's
      own. Where episodes may end early, their end is learned beside it.
    critic: class of `Critic`: the agent then imagines and learns from windows of
      `critic.imagined_steps` steps; None imagines whole episodes.
    model_learner: class of what fits the model; as the next two, a `functools.partial` of it
      changes settings in Python, as bindings of the class do in gin.
    policy_learner: class of what improves the policy.
    agent: class of the agent.

  Raises:
    UserError: if the system has no reward of its own and none is learned, or no last step that
      counts and no critic.
  """
  system = setup.system
  if critic is None and not system.time_aware:
    raise UserError(f'the horizon of {system.name} is no part of the task (time_aware = False), '
                    'and imagination would end there: add a critic, '
                    '--gin_bindings=make_asm_agent.critic=@Critic.')
  n, m = system.state_size, system.action_size
  with setup.execution.creating_variables():
    normalizer = Normalizer(n, system.horizon, time_aware=system.time_aware)
    reward = _make_reward(system, normalizer, reward_model)
  model_arguments, built_critic = (normalizer, n, m), None
  if critic is not None:
    built_critic = critic(setup, normalizer)
    setup = dataclasses.replace(setup, window=built_critic.imagined_steps)
    # A model of windows is given the time in the episode beside the action (`TimedModel`).
    model_arguments = normalizer.without_time(setup.steps + 1), n, m + normalizer.time_size
  with setup.execution.creating_variables():
    world = World(world_model(*model_arguments), reward, normalizer, built_critic)
    actors = AveragedActor(lambda: actor(normalizer, n, m))
  learner_of_policy = policy_learner(actors, world, setup)
  comparison = GradientComparison(learner_of_policy, world, setup)
  others = [] if reward_model is None else [RewardLearner(reward, setup)]
  if built_critic is not None:
    others.append(CriticLearner(built_critic, actors.trained, setup))
  return agent(
      setup, world, model_learner(world, setup), learner_of_policy, others,
      gradient_comparison=comparison if comparison.period else None,
      model_validation=ModelValidation(world, setup) if built_critic is None else (
          WindowValidation(world, actors.trained, setup)))


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
