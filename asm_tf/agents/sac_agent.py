"""TF-Agents' soft actor-critic, with the schedule of the paper's Table 2.

Networks, losses and targets are TF-Agents' own. What is added: the networks see states and
time as the world models do, rewards come in units of the return's spread, the policy may
be updated less often than the critic, and the entropy constant may stay fixed.
"""

import math

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.ddpg.critic_network import CriticNetwork
from tf_agents.agents.sac import sac_agent, tanh_normal_projection_network
from tf_agents.networks.actor_distribution_network import ActorDistributionNetwork
from tf_agents.policies.greedy_policy import GreedyPolicy

from asm_tf.agents.programs import replica_share, variables_of
from asm_tf.errors import UserError, require_at_least, require_positive
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.running_moments import RunningMoments
from asm_tf.replay import episode_steps


class SacAgent(sac_agent.SacAgent):
  """One `train` call is one critic update; every so many, one of policy and entropy constant."""

  def __init__(self, time_step_spec, action_spec, *, critic_network, actor_network, normalizer,
               critic_optimizer, actor_optimizer, alpha_optimizer, policy_updates_every,
               entropy_constant, learn_entropy_constant, discount, target_update_tau,
               scale_returns, strategy=None):
    """Builds the agent from its parts.

    Args:
      time_step_spec: TF-Agents time-step spec with observations [n+1].
      action_spec: TF-Agents action spec, [m] in [-1, 1].
      critic_network: TF-Agents critic, not built.
      actor_network: TF-Agents actor.
      normalizer: the `Normalizer` of both.
      critic_optimizer: Keras optimiser.
      actor_optimizer: another.
      alpha_optimizer: another, of the entropy constant.
      policy_updates_every: critic updates a policy update.
      entropy_constant: alpha, or its first value, in units of the rewards that the
        critic sees.
      learn_entropy_constant: True tunes alpha to TF-Agents' target entropy; False keeps it.
      discount: gamma.
      target_update_tau: share of the critic that its target takes on at each update.
      scale_returns: True counts rewards in units of the running standard deviation of
        the return; False as they are, as in the paper.
      strategy: tf.distribute strategy among whose replicas batches are shared; the networks
        and optimisers were made in its scope. None for one device.
    """
    with variables_of(strategy):
      # Read at every loss, so that a variable scales rewards as TF-Agents' constant would.
      reward_scale = tf.Variable(1.0, trainable=False, name='reward_scale')
      super().__init__(
          time_step_spec, action_spec, critic_network=critic_network,
          actor_network=actor_network, actor_optimizer=actor_optimizer,
          critic_optimizer=critic_optimizer, alpha_optimizer=alpha_optimizer,
          target_update_tau=target_update_tau, td_errors_loss_fn=tf.math.squared_difference,
          gamma=discount, reward_scale_factor=reward_scale,
          initial_log_alpha=math.log(entropy_constant),
          train_step_counter=tf.Variable(
              0, dtype=tf.int64, trainable=False, name='train_step',
              aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA))
      self.initialize()
      for optimizer, variables in (
          (critic_optimizer, self._critic_network_1.trainable_variables
           + self._critic_network_2.trainable_variables),
          (actor_optimizer, self._actor_network.trainable_variables),
          (alpha_optimizer, [self._log_alpha])):
        optimizer._create_all_weights(variables)  # pylint: disable=protected-access
    self._strategy = strategy
    self._reward_scale = reward_scale
    self._normalizer = normalizer
    self._policy_updates_every = policy_updates_every
    self._policy_is_due = True
    self._learn_entropy_constant = learn_entropy_constant
    self._return_moments = RunningMoments(1) if scale_returns else None
    self._losses = {name: tf.Variable(float('nan'), trainable=False, name=name)
                    for name in ('critic_loss', 'actor_loss', 'alpha_loss', 'entropy_constant')}

  @property
  def policy(self):
    """The mode of the actor's distribution; TF-Agents' own would draw from it."""
    return GreedyPolicy(super().policy)

  def observe(self, episodes):
    """Takes new episodes, a Trajectory [B, H+1, ...], into the running statistics."""
    self._normalizer.update(
        episodes.observation[..., :-1], episode_steps.states_visited(episodes))
    if self._return_moments is not None:
      self._return_moments.update(tf.reduce_sum(episodes.reward[:, :-1], 1, keepdims=True))
      self._reward_scale.assign(1 / self._return_moments.std[0])

  def losses(self):
    """{name: scalar} of the last update; NaN before the first."""
    return dict(self._losses)

  def _train(self, experience, weights):
    if weights is not None:
      raise NotImplementedError('weights of transitions have no meaning for this agent.')
    every = self._policy_updates_every
    if every == 1:
      losses = self._update(experience, policy_is_due=True)
    else:
      losses = tf.cond((self.train_step_counter + 1) % every == 0,
                       lambda: self._update(experience, policy_is_due=True),
                       lambda: self._update(experience, policy_is_due=False))
    for name, value in losses._asdict().items():
      self._losses[name].assign(value)
    self._losses['entropy_constant'].assign(tf.exp(self._log_alpha))
    return tf_agent.LossInfo(tf.add_n(losses), losses)

  def _update(self, experience, policy_is_due):
    """TF-Agents' update of everything, or of the critic alone; returns its losses."""
    self._policy_is_due = policy_is_due  # for `_apply_gradients`, while this is traced

    def on_replica(experience):
      return super(SacAgent, self)._train(experience, None).extra

    if self._strategy is None:
      return on_replica(experience)
    # TF-Agents divides by the size of the whole batch: replicas' losses are added up.
    parts = self._strategy.run(
        lambda batch: on_replica(tf.nest.map_structure(replica_share, batch)), [experience])
    return tf.nest.map_structure(
        lambda part: self._strategy.reduce('SUM', part, axis=None), parts)

  def _apply_gradients(self, gradients, variables, optimizer):
    """TF-Agents' own, for the policy and the entropy constant only when they are due."""
    if optimizer is self._alpha_optimizer and not self._learn_entropy_constant:
      return
    if optimizer is self._critic_optimizer or self._policy_is_due:
      # Sorted: TF-Agents collects the critic's variables in a set, whose order may differ.
      pairs = sorted(zip(gradients, variables), key=lambda pair: pair[1].name)
      super()._apply_gradients(*zip(*pairs), optimizer)


def make_sac_agent(system, time_step_spec, action_spec, model_period, seed,
                   critic_learning_rate=3e-4, actor_learning_rate=3e-4, alpha_learning_rate=3e-4,
                   critic_hidden_sizes=(256, 256), actor_hidden_sizes=(256, 256),
                   policy_period=1, entropy_constant=1.0, learn_entropy_constant=True,
                   discount=0.99, target_update_tau=0.005, normalize=True, strategy=None):
  """Builds the agent; the defaults are TF-Agents' customary ones.

  Args:
    system: `System` or `GymnasiumSystem`; the agent is given its sizes and horizon.
    time_step_spec: of the environment.
    action_spec: of the environment.
    model_period: environment steps a critic update.
    seed: not used: TF-Agents draws from TensorFlow's own seed.
    critic_learning_rate: of Adam.
    actor_learning_rate: of Adam.
    alpha_learning_rate: of Adam, for the entropy constant.
    critic_hidden_sizes: widths of the ReLU layers of each of the two critics.
    actor_hidden_sizes: widths of the ReLU layers of the policy.
    policy_period: environment steps a policy update, a multiple of `model_period`.
    entropy_constant: alpha, or its first value.
    learn_entropy_constant: see `SacAgent`.
    discount: gamma.
    target_update_tau: see `SacAgent`.
    normalize: scale states, time and rewards by their running moments; False follows
      the paper to the letter.
    strategy: tf.distribute strategy among whose replicas batches are shared, or None.
  """
  del seed
  require_positive(critic_learning_rate=critic_learning_rate, entropy_constant=entropy_constant,
                   actor_learning_rate=actor_learning_rate,
                   alpha_learning_rate=alpha_learning_rate)
  require_at_least(model_period, policy_period=policy_period)
  if policy_period % model_period:
    raise UserError(f'policy_period is {policy_period}: give a multiple of the environment '
                    f'steps of a critic update, {model_period}.')
  observation_spec = time_step_spec.observation
  with variables_of(strategy):
    normalizer = Normalizer(system.state_size, system.horizon, normalize)
    critic_network = NormalizedCritic(
        (observation_spec, action_spec), normalizer=normalizer,
        joint_fc_layer_params=critic_hidden_sizes, kernel_initializer='glorot_uniform',
        last_kernel_initializer='glorot_uniform')
    actor_network = ActorDistributionNetwork(
        observation_spec, action_spec, preprocessing_layers=ObservationFeatures(normalizer),
        fc_layer_params=actor_hidden_sizes, continuous_projection_net=(
            tanh_normal_projection_network.TanhNormalProjectionNetwork))
    critic_optimizer, actor_optimizer, alpha_optimizer = map(
        tf.keras.optimizers.legacy.Adam,
        (critic_learning_rate, actor_learning_rate, alpha_learning_rate))
  return SacAgent(
      time_step_spec, action_spec,
      critic_network=critic_network,
      actor_network=actor_network,
      normalizer=normalizer,
      critic_optimizer=critic_optimizer,
      actor_optimizer=actor_optimizer,
      alpha_optimizer=alpha_optimizer,
      policy_updates_every=policy_period // model_period,
      entropy_constant=entropy_constant,
      learn_entropy_constant=learn_entropy_constant,
      discount=discount,
      target_update_tau=target_update_tau,
      scale_returns=normalize,
      strategy=strategy)


class NormalizedCritic(CriticNetwork):
  """TF-Agents' critic on normalised states and time."""

  def __init__(self, input_tensor_spec, *, normalizer, **sizes):
    super().__init__(input_tensor_spec, **sizes)
    self._features = ObservationFeatures(normalizer)

  def call(self, inputs, step_type=(), network_state=(), training=False):
    observation, action = inputs
    return super().call(
        (self._features(observation), action), step_type, network_state, training)


class ObservationFeatures(tf.keras.layers.Layer):
  """Normalised state and time features [..., n + time_size] of observations [..., n+1]."""

  def __init__(self, normalizer, **kwargs):
    super().__init__(**kwargs)
    self._normalizer = normalizer

  def call(self, observation):
    return self._normalizer.join(
        self._normalizer.normalize(observation[..., :-1]), t=observation[..., -1])

  def get_config(self):
    """TF-Agents copies a layer by its configuration; the normaliser is shared."""
    return super().get_config() | {'normalizer': self._normalizer}
