"""TF-Agents' soft actor-critic, with the schedule of the paper's Table 2.

Networks, losses and targets are TF-Agents' own. What is added: the networks see states and
time as the other agents' policies do, rewards are centred and come in units of the return's
spread, the policy may be updated less often than the critic, and the entropy constant may stay
fixed.
"""

import math
from collections.abc import Callable

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.sac import sac_agent
from tf_agents.policies import tf_policy
from tf_agents.policies.greedy_policy import GreedyPolicy
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup, refuse_weights
from asm_tf.agents.entropy_constant import EntropyConstant
from asm_tf.agents.execution import replica_shard
from asm_tf.agents.reward_units import RewardUnits
from asm_tf.agents.sac_networks import SacNetworks
from asm_tf.agents.update_metrics import UpdateMetrics
from asm_tf.errors import UserError, require_at_least, require_positive, require_share
from asm_tf.replay import episode_steps


class SoftActorCritic(sac_agent.SacAgent):
  """One `train` call updates the critic; every so many, policy and entropy constant too."""

  def __init__(self, setup: AgentSetup, networks: SacNetworks, entropy_constant: EntropyConstant,
               critic_learning_rate: float = 3e-4, actor_learning_rate: float = 3e-4,
               policy_period: int = 1, discount: float = 0.99,
               target_update_tau: float = 0.005):
    """Builds the agent; the defaults are TF-Agents' customary ones.

    Args:
      setup: what it is built for.
      networks: critic and actor. Where their normaliser is enabled, the critic counts rewards in
        `RewardUnits`; else as they are, as in the paper.
      entropy_constant: alpha.
      critic_learning_rate: of Adam.
      actor_learning_rate: of Adam.
      policy_period: environment steps per policy update, a multiple of `setup.model_period`,
        those of a critic update.
      discount: gamma.
      target_update_tau: share of the critic that its target takes on at each update.
    """
    require_positive(**{'SoftActorCritic.critic_learning_rate': critic_learning_rate,
                        'SoftActorCritic.actor_learning_rate': actor_learning_rate})
    require_share(**{'SoftActorCritic.discount': discount,
                     'SoftActorCritic.target_update_tau': target_update_tau})
    every = _critic_updates_per_policy_update(setup.model_period, policy_period)
    with setup.execution.creating_variables():
      optimizers = [tf.keras.optimizers.legacy.Adam(rate) for rate in (
          critic_learning_rate, actor_learning_rate, entropy_constant.learning_rate)]
      super().__init__(
          setup.time_step_spec, setup.action_spec, critic_network=networks.critic,
          actor_network=networks.actor, critic_optimizer=optimizers[0],
          actor_optimizer=optimizers[1], alpha_optimizer=optimizers[2],
          target_update_tau=target_update_tau, td_errors_loss_fn=tf.math.squared_difference,
          gamma=discount,
          initial_log_alpha=math.log(entropy_constant.initial_of_step(setup.system.horizon)),
          train_step_counter=tf.Variable(
              0, dtype=tf.int64, trainable=False, name='train_step',
              aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA))
      self.initialize()
      for optimizer, variables in zip(optimizers, (
          self._critic_network_1.trainable_variables + self._critic_network_2.trainable_variables,
          self._actor_network.trainable_variables, [self._log_alpha]), strict=True):
        optimizer._create_all_weights(variables)
    self._strategy = setup.execution.strategy
    self._rewards = RewardUnits(setup, networks.normalizer.enabled)
    self._normalizer = networks.normalizer
    self._policy_updates_every = every
    self._policy_is_due = True
    self._learn_entropy_constant = entropy_constant.learned
    self._metrics = UpdateMetrics('critic_loss', 'actor_loss', 'alpha_loss', 'entropy_constant')

  @property
  def policy(self) -> tf_policy.TFPolicy:
    """The mode of the actor's distribution; TF-Agents' own would draw from it."""
    return GreedyPolicy(super().policy)

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the running statistics."""
    self._normalizer.update(
        episodes.observation[..., :-1], episode_steps.states_visited(episodes))
    self._rewards.observe(episodes)

  def metrics(self) -> dict[str, tf.Variable]:
    """{name: scalar} of the last update; NaN before the first."""
    return self._metrics.values()

  def _train(self, experience, weights):
    refuse_weights(weights, 'transitions')
    experience = experience._replace(reward=self._rewards.normalize(experience.reward))
    every = self._policy_updates_every
    if every == 1:
      losses = self._update(experience, policy_is_due=True)
    else:
      losses = tf.cond((self.train_step_counter + 1) % every == 0,
                       lambda: self._update(experience, policy_is_due=True),
                       lambda: self._update(experience, policy_is_due=False))
    self._metrics.record(**losses._asdict(), entropy_constant=tf.exp(self._log_alpha))
    return tf_agent.LossInfo(tf.add_n(losses), losses)

  def _update(self, experience, policy_is_due):
    """TF-Agents' update of everything, or of the critic alone; returns its losses."""
    self._policy_is_due = policy_is_due  # for `_apply_gradients`, while this is traced

    def on_replica(experience):
      return super(SoftActorCritic, self)._train(experience, None).extra

    if self._strategy is None:
      return on_replica(experience)
    # TF-Agents divides by the size of the whole batch: replicas' losses are added up.
    parts = self._strategy.run(
        lambda batch: on_replica(tf.nest.map_structure(replica_shard, batch)), [experience])
    return tf.nest.map_structure(
        lambda part: self._strategy.reduce('SUM', part, axis=None), parts)

  def _apply_gradients(self, gradients, variables, optimizer):
    """TF-Agents' own, for the policy and the entropy constant only when they are due."""
    if optimizer is self._alpha_optimizer and not self._learn_entropy_constant:
      return
    if optimizer is self._critic_optimizer or self._policy_is_due:
      # Sorted: TF-Agents collects the critic's variables in a set, whose order may differ.
      pairs = sorted(zip(gradients, variables, strict=True), key=lambda pair: pair[1].name)
      super()._apply_gradients(*zip(*pairs, strict=True), optimizer)


def _critic_updates_per_policy_update(model_period, policy_period):
  require_at_least(model_period, **{'SoftActorCritic.policy_period': policy_period})
  if policy_period % model_period:
    raise UserError(f'SoftActorCritic.policy_period is {policy_period}: give a multiple of the '
                    f'environment steps per critic update, {model_period}.')
  return policy_period // model_period


def make_sac_agent(
    setup: AgentSetup, networks: Callable[..., SacNetworks] = SacNetworks,
    entropy_constant: Callable[..., EntropyConstant] = EntropyConstant,
    agent: Callable[..., SoftActorCritic] = SoftActorCritic) -> SoftActorCritic:
  """Builds the agent, with networks of the system's sizes.

  Args:
    setup: what the agent is built for.
    networks: class of the networks.
    entropy_constant: class of the entropy constant.
    agent: class of the agent.
  """
  return agent(setup, networks(setup), entropy_constant())
