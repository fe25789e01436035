"""An `AsmAgent` from a system and a few numbers: what a gin file configures."""

import tensorflow as tf

from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.programs import default_parts, variables_of
from asm_tf.errors import UserError, require_positive
from asm_tf.models.continuation import ContinuationModel, RewardUntilTermination
from asm_tf.models.lstm import LSTM
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor


def make_asm_agent(system, time_step_spec, action_spec, model_period, seed, world_model=LSTM,
                   actor=SquashedGaussianActor, model_learning_rate=1e-3,
                   policy_learning_rate=1e-3, policy_period=16, policy_batch_size=16,
                   entropy_constant=0.001, feedback=0.0, octaves_alike=False, normalize=True,
                   reward_model=None, reward_learning_rate=1e-3, comparison_period=0,
                   jit_compile=True, parts=None, strategy=None):
  """Builds the agent of Algorithm 1.

  Args:
    system: `System` or `GymnasiumSystem`; the agent is given its sizes and, unless it
      learns one, its reward.
    time_step_spec: of the environment.
    action_spec: of the environment.
    model_period: environment steps a model update, so that `policy_period` can be
      met (the paper's replay ratio 2).
    seed: of exploration and imagination; the weights follow TensorFlow's own seed.
    world_model: class of `SequenceModel`.
    actor: class of actor.
    model_learning_rate: of Adam.
    policy_learning_rate: of Adam.
    policy_period: environment steps a policy update (the paper's replay ratio 16).
    policy_batch_size: imagined trajectories a policy update.
    entropy_constant: weight of the policy's entropy.
    feedback: 0 for the open-loop policy gradient, 1 for the closed-loop one.
    octaves_alike: see `prediction_loss`.
    normalize: scale states, time and returns by their running moments; False
      follows the paper to the letter.
    reward_model: class of `RewardModel` to learn the reward with; None takes the
      system's own. Where episodes may end early, their end is learned beside it.
    reward_learning_rate: of Adam.
    comparison_period: policy updates between comparisons of the model's policy
      gradient with the simulator's; 0 for none.
    jit_compile: compile the updates with XLA.
    parts: into how many, at most, a replica's share of a batch is split to form its
      gradients side by side; None for one a CPU core.
    strategy: tf.distribute strategy among whose replicas batches are shared, or None.
  """
  require_positive(model_learning_rate=model_learning_rate,
                   policy_learning_rate=policy_learning_rate,
                   reward_learning_rate=reward_learning_rate)
  _check_what_is_known(system, reward_model, comparison_period)
  sizes = system.state_size, system.action_size
  with variables_of(strategy):
    normalizer = Normalizer(system.state_size, system.horizon, normalize)
    if reward_model is None:
      reward = system.reward
    else:
      reward = reward_model(normalizer, *sizes, scale=normalize)
      if not system.has_fixed_length:
        reward = RewardUntilTermination(reward, ContinuationModel(normalizer, system.state_size))
    world_model, actor = world_model(normalizer, *sizes), actor(normalizer, *sizes)
    model_optimizer, policy_optimizer, reward_optimizer = map(
        _adam, (model_learning_rate, policy_learning_rate, reward_learning_rate))
  return AsmAgent(
      time_step_spec, action_spec,
      world_model=world_model,
      actor=actor,
      normalizer=normalizer,
      reward=reward,
      model_optimizer=model_optimizer,
      policy_optimizer=policy_optimizer,
      horizon=system.horizon,
      model_period=model_period,
      policy_period=policy_period,
      policy_batch_size=policy_batch_size,
      entropy_constant=entropy_constant,
      feedback=feedback,
      octaves_alike=octaves_alike,
      reward_optimizer=None if reward_model is None else reward_optimizer,
      simulator=(TrueDynamics(system), system.reward) if comparison_period else None,
      comparison_period=comparison_period,
      has_fixed_length=system.has_fixed_length,
      scale_returns=normalize,
      seed=seed,
      jit_compile=jit_compile,
      parts=default_parts(strategy) if parts is None else parts,
      strategy=strategy)


def _check_what_is_known(system, reward_model, comparison_period):
  if system.is_differentiable:
    return
  if reward_model is None:
    raise UserError(f'the reward of {system.name} is not known as an equation: add '
                    '--gin_file=gin/agents/learned_reward.gin.')
  if comparison_period:
    raise UserError(f'{system.name} has no equations to compare gradients with: leave '
                    'make_asm_agent.comparison_period at 0.')


def _adam(learning_rate):
  # The whole update is compiled; Keras need not compile each variable's apart.
  return tf.keras.optimizers.Adam(learning_rate, jit_compile=False)
