"""The action-sequence model policy gradient agent (paper, Algorithm 1)."""

import tensorflow as tf
from tf_agents.agents import tf_agent

from asm_tf.agents.programs import (
    compiled, in_parts, in_replicas, mean_of, require_shares, variables_of)
from asm_tf.agents.updates import apply_if_finite
from asm_tf.errors import (
    UserError, require_at_least, require_not_negative, require_positive)
from asm_tf.gradients.comparison import cosine_similarity, relative_error
from asm_tf.gradients.policy_gradient import (
    open_loop_policy_gradient, sequential_policy_gradient)
from asm_tf.models.loss import prediction_loss, step_weights
from asm_tf.models.running_moments import RunningMoments
from asm_tf.policies.tf_policies import SquashedGaussianPolicy
from asm_tf.replay import episode_steps


class AsmAgent(tf_agent.TFAgent):
  """Learns a world model and improves a policy through it.

  One `train` call is one model update and stands for `model_period` environment
  steps; when `policy_period` of them have gone by, it is a policy update too.
  """

  def __init__(self, time_step_spec, action_spec, *, world_model, actor, normalizer, reward,
               model_optimizer, policy_optimizer, horizon, model_period=2, policy_period=16,
               policy_batch_size=16, entropy_constant=0.001, clip_norm=100.0, feedback=0.0,
               octaves_alike=False, scale_returns=True, reward_optimizer=None, simulator=None,
               comparison_period=0, has_fixed_length=True, seed=0, jit_compile=False, parts=1,
               strategy=None):
    """Builds the agent from its parts.

    Args:
      time_step_spec: TF-Agents time-step spec with observations [n+1].
      action_spec: TF-Agents action spec, [m] in [-1, 1].
      world_model: built `SequenceModel`.
      actor: built `SquashedGaussianActor`.
      normalizer: the `Normalizer` that both use.
      reward: function (states [B, H, n], actions [B, H, m], t [H]) -> [B, H]; with
        `reward_optimizer` a built `RewardModel` or `RewardUntilTermination`.
      model_optimizer: Keras optimiser of the world model.
      policy_optimizer: Keras optimiser of the actor.
      horizon: H.
      model_period: environment steps a model update.
      policy_period: environment steps a policy update, at least `model_period`.
      policy_batch_size: imagined trajectories a policy update.
      entropy_constant: weight of the policy's entropy at each step, in units of
        the return scale.
      clip_norm: largest norm of the policy gradient.
      feedback: 0 follows the open-loop gradient, by two passes; above, up to 1, the
        one that reaches back through the policy's inputs too, by the sequential route.
      octaves_alike: see `prediction_loss`.
      scale_returns: True counts returns in units of their running standard
        deviation; False as they are, as in the paper.
      reward_optimizer: Keras optimiser of a learned reward, trained once a `train`
        call; None where the reward is given.
      simulator: pair (`TrueDynamics`, its reward) to compare gradients with, or None.
      comparison_period: policy updates between comparisons of the policy gradient
        with the simulator's own; 0 for none.
      has_fixed_length: every episode has H steps; else the losses leave out what pads
        the shorter ones.
      seed: of exploration and imagination.
      jit_compile: compile the updates with XLA.
      parts: into how many, at most, a replica's share of a batch is split to form its
        gradients side by side; on a CPU more of them in turn where the model asks for it.
      strategy: tf.distribute strategy among whose replicas batches are shared; the models
        and optimisers were made in its scope. None for one device.
    """
    require_at_least(1, model_period=model_period)
    require_at_least(model_period, policy_period=policy_period)
    require_positive(clip_norm=clip_norm)
    require_at_least(1, policy_batch_size=policy_batch_size)
    require_not_negative(entropy_constant=entropy_constant, feedback=feedback)
    require_at_least(0, comparison_period=comparison_period)
    require_shares(strategy, policy_batch_size=policy_batch_size)
    if feedback > 1:
      raise UserError(f'feedback is {feedback}: give a number from 0 to 1.')
    self.world_model = world_model
    self.actor = actor
    self._normalizer = normalizer
    self._reward = reward
    self._model_optimizer = model_optimizer
    self._policy_optimizer = policy_optimizer
    self._horizon = horizon
    self._model_period = model_period
    self._policy_period = policy_period
    self._policy_batch_size = policy_batch_size
    self._entropy_constant = entropy_constant
    self._clip_norm = clip_norm
    self._feedback = feedback
    self._octaves_alike = octaves_alike
    self._reward_optimizer = reward_optimizer
    self._simulator = simulator
    self._comparison_period = comparison_period
    self._has_fixed_length = has_fixed_length
    self._strategy = strategy
    with variables_of(strategy):
      self._return_moments = RunningMoments(1) if scale_returns else None
      for optimizer, module in ((model_optimizer, world_model), (policy_optimizer, actor),
                                (reward_optimizer, reward)):
        if optimizer is not None:
          optimizer.build(module.trainable_variables)
    self._exploration = tf.random.Generator.from_seed((seed, 1), alg='philox')
    self._imagination = tf.random.Generator.from_seed((seed, 2), alg='philox')
    names = ['model_loss', 'model_gradient_norm', 'imagined_return', 'policy_entropy',
             'policy_gradient_norm']
    if reward_optimizer is not None:
      names += ['reward_loss']
    if comparison_period:
      names += ['gradient_cosine', 'gradient_relative_error']
    # Each is an XLA program of its own: the gradients a program a part of the batch.
    self._model_gradient, self._imagine, self._reward_gradient = (
        in_replicas(in_parts(compiled(function, jit_compile), parts, most), strategy)
        for function, most in ((self._model_gradient_of, world_model.trajectories_at_once(horizon)),
                               (self._imagine_from, None), (self._reward_gradient_of, None)))
    self._apply_to_model, self._apply_to_policy, self._apply_to_reward, self._compare_gradients = (
        compiled(function, jit_compile and strategy is None) for function in (
            self._apply_to_model, self._apply_to_policy, self._apply_to_reward,
            self._compare_gradients))
    # NaN until the first update, so that no curve starts from a zero nobody measured.
    self._losses = {name: tf.Variable(float('nan'), trainable=False, name=name) for name in names}
    self._losses['skipped_updates'] = tf.Variable(0.0, trainable=False, name='skipped_updates')
    self._policy_updates = tf.Variable(0, trainable=False, name='policy_updates')
    super().__init__(
        time_step_spec, action_spec,
        policy=SquashedGaussianPolicy(time_step_spec, action_spec, actor),
        collect_policy=SquashedGaussianPolicy(
            time_step_spec, action_spec, actor, self._exploration),
        train_sequence_length=horizon + 1,
        train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False, name='train_step'))

  @property
  def reward(self):
    """The function of the imagined rewards, given or learned."""
    return self._reward

  def observe(self, episodes):
    """Takes new episodes, a Trajectory [B, H+1, ...], into the running statistics."""
    self._normalizer.update(
        episodes.observation[..., :-1], episode_steps.states_visited(episodes))
    if self._reward_optimizer is not None:
      self._reward.observe(episodes.reward[:, :-1], episode_steps.steps_taken(episodes))
    if self._return_moments is not None:
      self._return_moments.update(tf.reduce_sum(episodes.reward[:, :-1], 1, keepdims=True))

  def losses(self):
    """{name: scalar} of the last updates; NaN before the first."""
    return dict(self._losses)

  def _train(self, experience, weights=None):
    if experience.observation.shape[1] != self.train_sequence_length:
      raise ValueError(f'experience has {experience.observation.shape[1]} rows a trajectory, '
                       f'expected H+1 = {self.train_sequence_length}.')
    states, actions = experience.observation[..., :-1], experience.action[:, :-1]
    steps = self._steps_taken(experience)
    self.update_model(states, actions, *self._model_weights(weights, *steps))
    if self._reward_optimizer is not None:
      masks = ()
      if not self._has_fixed_length:
        visited = episode_steps.states_visited(experience)[:, :-1]
        masks = *steps, step_weights(*steps), step_weights(visited)
      self.update_reward(states[:, :-1], actions, experience.reward[:, :-1], *masks)
    self.train_step_counter.assign_add(1)
    tf.cond(self._policy_update_is_due(),
            lambda: self.update_policy(self._starts(states)), lambda: None)
    return tf_agent.LossInfo(
        loss=tf.identity(self._losses['model_loss']),
        extra={name: tf.identity(value) for name, value in self._losses.items()})

  def _steps_taken(self, experience):
    """([B, H],), whether each step was taken; () where all of them were."""
    return () if self._has_fixed_length else (episode_steps.steps_taken(experience),)

  def _model_weights(self, weights, steps=None):
    """Weights of the prediction loss, if any: [B], or [B, H] with the steps that were taken."""
    if steps is None:
      return () if weights is None else (weights,)
    # Their mean is 1 over the whole batch, so that the mean of its parts' means is the masked one.
    of_steps = step_weights(steps)
    return (of_steps if weights is None else of_steps * weights[:, None],)

  def _starts(self, states):
    """[policy_batch_size, n]: initial states of the sampled trajectories, in turn."""
    rows = tf.range(self._policy_batch_size) % tf.shape(states)[0]
    starts = tf.gather(states[:, 0], rows)
    return tf.ensure_shape(starts, [self._policy_batch_size, states.shape[-1]])

  def _policy_update_is_due(self):
    steps = self.train_step_counter * self._model_period
    return steps // self._policy_period > (steps - self._model_period) // self._policy_period

  def _loss(self, experience, weights=None, training=False):
    steps = self._steps_taken(experience)
    loss = self._model_loss(
        experience.observation[..., :-1], experience.action[:, :-1],
        *(self._model_weights(weights, *steps) or (None,)), training)
    return tf_agent.LossInfo(loss, ())

  def _model_loss(self, states, actions, weights, training):
    return prediction_loss(self.world_model, self._normalizer, states, actions, weights,
                           self._octaves_alike, training)

  def update_model(self, *batch):
    """One update of the world model with states [B, H+1, n], actions [B, H, m] and, if
    there are any, weights [B] or [B, H]."""
    self._apply_to_model(self._model_gradient(*batch))

  def _model_gradient_of(self, states, actions, weights=None):
    with tf.GradientTape() as tape:
      loss = self._model_loss(states, actions, weights, training=True)
    return loss, tape.gradient(loss, self.world_model.trainable_variables)

  def _apply_to_model(self, parts):
    loss, gradients = mean_of(parts)
    norm, applied = tf.zeros_like(loss), True
    if gradients:  # the true dynamics have none
      norm, applied = apply_if_finite(self._model_optimizer, gradients,
                                      self.world_model.trainable_variables, strategy=self._strategy)
    self._record(applied, model_loss=loss, model_gradient_norm=norm)

  def update_reward(self, states, actions, rewards, *masks):
    """One update of the learned reward with s_0 .. s_{H-1} [B, H, n], [B, H, m] and [B, H], and
    where episodes may end early what `RewardUntilTermination` has masks for, [B, H] each."""
    self._apply_to_reward(self._reward_gradient(states, actions, rewards, *masks))

  def _reward_gradient_of(self, states, actions, rewards, *masks):
    with tf.GradientTape() as tape:
      loss = self._reward.loss(states, actions, tf.range(self._horizon), rewards, *masks)
    return loss, tape.gradient(loss, self._reward.trainable_variables)

  def _apply_to_reward(self, parts):
    loss, gradients = mean_of(parts)
    _, applied = apply_if_finite(self._reward_optimizer, gradients,
                                 self._reward.trainable_variables, strategy=self._strategy)
    self._record(applied, reward_loss=loss)

  def update_policy(self, initial_state):
    """One update of the policy, imagined from [policy_batch_size, n] in the world model."""
    shape = [initial_state.shape[0], self._horizon, self.action_spec.shape[0]]
    noise = self._imagination.normal(shape, dtype=initial_state.dtype)
    if self._comparison_period:
      tf.cond(self._policy_updates % self._comparison_period == 0,
              lambda: self._compare_gradients(initial_state, noise), lambda: None)
    self._apply_to_policy(self._imagine(initial_state, noise))
    self._policy_updates.assign_add(1)

  def _imagine_from(self, initial_state, noise):
    scale = 1.0 if self._return_moments is None else self._return_moments.std[0]
    imagined = self._policy_gradient(
        self.world_model, self._reward, initial_state, noise, scale, self._entropy_constant)
    return tf.reduce_mean(imagined.returns), imagined.entropy, imagined.gradients

  def _apply_to_policy(self, parts):
    mean_return, entropy, gradients = mean_of(parts)
    norm, applied = apply_if_finite(
        self._policy_optimizer, [-gradient for gradient in gradients],
        self.actor.trainable_variables, self._clip_norm, self._strategy)
    self._record(applied, imagined_return=mean_return, policy_entropy=entropy,
                 policy_gradient_norm=norm)

  def _policy_gradient(self, model, reward, initial_state, noise, scale=1.0, entropy_constant=0.0):
    arguments = (model, reward, self.actor, initial_state, noise, scale, entropy_constant)
    if self._feedback:
      return sequential_policy_gradient(*arguments, self._feedback)
    return open_loop_policy_gradient(*arguments)

  def _compare_gradients(self, initial_state, noise):
    """How well the model's gradient of the return agrees with the simulator's."""
    ours, theirs = (self._policy_gradient(*world, initial_state, noise).gradients
                    for world in ((self.world_model, self._reward), self._simulator))
    self._record(True, gradient_cosine=cosine_similarity(ours, theirs),
                 gradient_relative_error=relative_error(ours, theirs))

  def _record(self, applied, **values):
    self._losses['skipped_updates'].assign_add(tf.where(applied, 0.0, 1.0))
    for name, value in values.items():
      self._losses[name].assign(tf.cast(value, tf.float32))
