"""The online decision transformer (Zheng et al., 2022; paper, Appendix F.3).

Likelihood of the actions in the replay given the returns that followed them, under a
constraint on the policy's entropy per action:

    min_theta max_lambda  -E[log pi(a_t | ..)] - lambda (E[H(pi)] - beta),   lambda > 0

It is purely online: episodes are collected under the return to reach, kept with the
return that they did reach (hindsight), and drawn uniformly, all being of one length.
"""

from collections.abc import Callable

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents import update_metrics
from asm_tf.agents.agent_setup import AgentSetup, refuse_weights
from asm_tf.agents.execution import mean_of
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.environments import scores
from asm_tf.errors import UserError, require_finite, require_positive
from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.models.loss import mask_weights
from asm_tf.models.normalizer import Normalizer
from asm_tf.policies.return_conditioned import ReturnConditionedPolicy
from asm_tf.policies.returns_to_go import ReturnsToGo
from asm_tf.policies.squashed_gaussian import log_likelihood, squashed_entropy
from asm_tf.random_streams import Stream


class DecisionTransformerAgent(tf_agent.TFAgent):
  """One `train` call is one update on windows of the drawn episodes.

  Attributes:
    model: the `DecisionTransformer`.
  """

  def __init__(self, setup: AgentSetup, model: DecisionTransformer, returns: ReturnsToGo,
               learning_rate: float = 1e-3, temperature_learning_rate: float = 1e-3,
               clip_norm: float = 0.25):
    """Builds the agent.

    Args:
      setup: what it is built for.
      model: the policy, built.
      returns: the return to reach, in exploration and evaluation, and the units of returns.
      learning_rate: of Adam, for the model.
      temperature_learning_rate: of Adam, for lambda, the dual variable of the entropy.
      clip_norm: largest norm of the model's gradient.
    """
    require_positive(**{
        'DecisionTransformerAgent.learning_rate': learning_rate,
        'DecisionTransformerAgent.temperature_learning_rate': temperature_learning_rate,
        'DecisionTransformerAgent.clip_norm': clip_norm})
    execution = setup.execution
    self.model = model
    self._returns = returns
    self._execution = execution
    self._horizon, self._clip_norm = setup.system.horizon, clip_norm
    self._target_entropy = -float(setup.system.action_size)  # beta, nats per action
    with execution.creating_variables():
      self._log_temperature = tf.Variable(tf.math.log(0.1), name='log_temperature')
    self._optimizer = execution.adam(learning_rate, model.trainable_variables)
    self._temperature_optimizer = execution.adam(
        temperature_learning_rate, [self._log_temperature])
    exploration, self._sampling = (
        setup.generator(stream) for stream in (Stream.EXPLORATION, Stream.SEGMENTS))
    self._metrics = UpdateMetrics(
        'action_loss', 'policy_entropy', 'temperature', 'policy_gradient_norm')
    self._gradient = execution.gradient_program(self._losses_and_gradient)
    self._apply = execution.update_program(self._apply_gradients)
    specs = setup.time_step_spec, setup.action_spec
    policy, collect_policy = (
        ReturnConditionedPolicy(*specs, model, returns, generator)
        for generator in (None, exploration))
    super().__init__(
        *specs, policy=policy, collect_policy=collect_policy,
        train_sequence_length=setup.system.horizon + 1,
        train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False, name='train_step'))

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the units of states and returns."""
    self.model.normalizer.update(episodes.observation[..., :-1])
    # Until the first update: the warm-up's episodes, and the first of the untrained policy.
    tf.cond(self.train_step_counter == 0,
            lambda: self._returns.observe_random(episodes.reward[:, :-1]), lambda: None)

  def metrics(self) -> dict[str, tf.Tensor]:
    """{name: scalar} of the last update; NaN before the first."""
    return update_metrics.merge(self._metrics)

  def _train(self, experience, weights=None):
    refuse_weights(weights, 'episodes')
    window, noise = self._windows(experience)
    loss, entropy, norm, applied = self._apply(self._gradient(*window, noise))
    self.train_step_counter.assign_add(1)
    self._metrics.record(
        applied, action_loss=loss, policy_entropy=entropy, policy_gradient_norm=norm,
        temperature=tf.exp(self._log_temperature))
    return tf_agent.LossInfo(loss, extra=())

  def _windows(self, experience):
    """K steps of each episode from a random one on, and noise for the entropy estimate.

    Any step may be the first, as in Zheng et al.; what lies beyond the episode weighs nothing. An
    episode of no more than K steps is taken whole, as the policy sees it.
    """
    batch, steps = experience.reward.shape[0], self.model.context_size
    to_go = tf.cumsum(experience.reward[:, :-1], 1, reverse=True)  # of what was reached
    begins = self._horizon if steps < self._horizon else 1
    begin = self._sampling.uniform([batch], maxval=begins, dtype=tf.int32)
    t = begin[:, None] + tf.range(steps)  # [B, K]
    weights, t = mask_weights(t < self._horizon), tf.minimum(t, self._horizon - 1)
    states, actions = experience.observation[:, :-1, :-1], experience.action[:, :-1]
    window = [tf.gather(part, t, batch_dims=1) for part in (to_go, states, actions)]
    return (*window, t, weights), self._sampling.normal(window[2].shape)

  def _losses_and_gradient(self, to_go, states, actions, t, weights, noise):
    with tf.GradientTape() as tape:
      mean, log_std = self.model(
          self._returns.normalize(to_go, t), states, actions, t, training=True)
      loss = -tf.reduce_mean(weights * log_likelihood(actions, mean, log_std))
      entropy = tf.reduce_mean(weights * squashed_entropy(mean, log_std, noise))
      objective = loss - tf.exp(self._log_temperature) * entropy
    return loss, entropy, tape.gradient(objective, self.model.trainable_variables)

  def _apply_gradients(self, microbatches):
    loss, entropy, gradients = mean_of(microbatches)
    # d/d log lambda of lambda (entropy - beta)
    slope = tf.exp(self._log_temperature) * (entropy - self._target_entropy)
    norm, applied = self._execution.apply_if_finite(
        self._optimizer, gradients, self.model.trainable_variables, self._clip_norm)
    self._execution.apply_if_finite(
        self._temperature_optimizer, [slope], [self._log_temperature])
    return loss, entropy, norm, applied


def make_decision_transformer_agent(
    setup: AgentSetup, model: Callable[..., DecisionTransformer] = DecisionTransformer,
    target_score: float = 1.0,
    returns_to_go: Callable[..., ReturnsToGo] = ReturnsToGo,
    agent: Callable[..., DecisionTransformerAgent] = DecisionTransformerAgent
) -> DecisionTransformerAgent:
  """Builds the agent for a system whose random and optimal returns are known.

  Args:
    setup: what the agent is built for.
    model: class of `DecisionTransformer`.
    target_score: the return to reach, as a normalised score: 1 is the optimum (expert), 2
      as far again above the random policy (overshot).
    returns_to_go: class of the units of returns.
    agent: class of the agent.

  Raises:
    UserError: if no optimum of the system is known.
  """
  require_finite(**{'make_decision_transformer_agent.target_score': target_score})
  system = setup.system
  reference = _require_reference(system)
  spread = reference.optimal - reference.random
  with setup.execution.creating_variables():
    normalizer = Normalizer(system.state_size, system.horizon)
    policy = model(normalizer, system.state_size, system.action_size)
    returns = returns_to_go(
        reference.random + target_score * spread, spread, system.horizon)
  return agent(setup, policy, returns)


def _require_reference(system):
  """The system's reference returns; `UserError` where there are none."""
  if not system.is_differentiable:
    raise UserError(f'a return-conditioned agent needs a known optimum, and {system.name} has '
                    'none: train another, such as gin/gymnasium.gin.')
  reference = scores.reference_for(system)
  if reference is None and scores.reference(system.name, system.horizon):
    raise UserError(f'a return-conditioned agent needs an optimum, and that of {system.name} is '
                    'known for its default parameters only: leave them, noise too.')
  if reference is None:
    raise UserError(
        f'a return-conditioned agent needs the optimum of {system.name} at H = {system.horizon}: '
        f'run `python -m launch.solve --system={system.name} --horizon={system.horizon} --save`.')
  return reference
