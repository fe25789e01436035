"""The online decision transformer (Zheng et al., 2022; paper, Appendix F.3).

Likelihood of the actions in the replay given the returns that followed them, under a
constraint on the policy's entropy per action:

    min_theta max_lambda  -E[log pi(a_t | ..)] - lambda (E[H(pi)] - beta),   lambda > 0

It is purely online: episodes are collected under the return to reach, kept with the
return that they did reach (hindsight), and drawn uniformly, all being of one length.
"""

import math

import tensorflow as tf
from tf_agents.agents import tf_agent

from asm_tf.agents.programs import (
    compiled, default_parts, in_parts, in_replicas, mean_of, variables_of)
from asm_tf.agents.updates import apply_if_finite
from asm_tf.environments import scores
from asm_tf.errors import UserError, require_positive
from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.models.normalizer import Normalizer
from asm_tf.policies.return_conditioned import ReturnConditionedPolicy
from asm_tf.policies.squashed_gaussian import squashed_entropy

_LARGEST_ACTION = 0.999  # whose atanh is what the likelihood is taken at


class DecisionTransformerAgent(tf_agent.TFAgent):
  """One `train` call is one update on windows of the drawn episodes."""

  def __init__(self, time_step_spec, action_spec, *, model, optimizer, temperature_optimizer,
               horizon, target_return, return_scale, target_entropy, clip_norm=0.25, seed=0,
               jit_compile=False, parts=1, strategy=None):
    """Builds the agent from its parts.

    Args:
      time_step_spec: TF-Agents time-step spec with observations [n+1].
      action_spec: TF-Agents action spec, [m] in [-1, 1].
      model: `DecisionTransformer`.
      optimizer: Keras optimiser of the model.
      temperature_optimizer: another, of lambda.
      horizon: H.
      target_return: the return asked for, in exploration and evaluation.
      return_scale: the unit in which the model counts returns.
      target_entropy: beta, nats an action.
      clip_norm: largest norm of the gradient.
      seed: of exploration, windows and entropy estimates.
      jit_compile: see `AsmAgent`.
      parts: see `AsmAgent`.
      strategy: see `AsmAgent`.
    """
    self.model = model
    self._horizon, self._clip_norm = horizon, clip_norm
    self._target_entropy = target_entropy
    self._optimizer, self._temperature_optimizer = optimizer, temperature_optimizer
    self._strategy = strategy
    with variables_of(strategy):
      self._target_return = tf.Variable(target_return, trainable=False, dtype=tf.float32)
      self._return_scale = tf.Variable(return_scale, trainable=False, dtype=tf.float32)
      self._log_temperature = tf.Variable(tf.math.log(0.1), name='log_temperature')
      optimizer.build(model.trainable_variables)
      temperature_optimizer.build([self._log_temperature])
    self._exploration, self._sampling = (
        tf.random.Generator.from_seed((seed, stream), alg='philox') for stream in (1, 2))
    self._losses = {name: tf.Variable(float('nan'), trainable=False, name=name) for name in (
        'action_loss', 'policy_entropy', 'temperature', 'policy_gradient_norm')}
    self._losses['skipped_updates'] = tf.Variable(0.0, trainable=False, name='skipped_updates')
    self._gradient = in_replicas(
        in_parts(compiled(self._gradient_of, jit_compile), parts), strategy)
    self._apply = compiled(self._apply_to_both, jit_compile and strategy is None)
    policy, collect_policy = (ReturnConditionedPolicy(
        time_step_spec, action_spec, model, self._target_return, self._return_scale, generator)
                              for generator in (None, self._exploration))
    super().__init__(
        time_step_spec, action_spec, policy=policy, collect_policy=collect_policy,
        train_sequence_length=horizon + 1,
        train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False, name='train_step'))

  def observe(self, episodes):
    """Takes new episodes, a Trajectory [B, H+1, ...], into the running moments of states."""
    self.model.normalizer.update(episodes.observation[..., :-1])

  def losses(self):
    """{name: scalar} of the last update; NaN before the first."""
    return dict(self._losses)

  def _train(self, experience, weights=None):
    if weights is not None:
      raise NotImplementedError('weights of episodes have no meaning for this agent.')
    window, noise = self._windows(experience)
    loss, entropy, norm, applied = self._apply(self._gradient(*window, noise))
    self.train_step_counter.assign_add(1)
    self._losses['skipped_updates'].assign_add(tf.where(applied, 0.0, 1.0))
    for name, value in {'action_loss': loss, 'policy_entropy': entropy,
                        'policy_gradient_norm': norm,
                        'temperature': tf.exp(self._log_temperature)}.items():
      self._losses[name].assign(value)
    return tf_agent.LossInfo(loss, extra=())

  def _windows(self, experience):
    """K steps of each episode from a random one on, and noise for the entropy estimate."""
    batch, steps = experience.reward.shape[0], self.model.context_size
    to_go = tf.cumsum(experience.reward[:, :-1], 1, reverse=True)  # of what was reached
    begin = self._sampling.uniform([batch], maxval=self._horizon - steps + 1, dtype=tf.int32)
    t = begin[:, None] + tf.range(steps)  # [B, K]
    states, actions = experience.observation[:, :-1, :-1], experience.action[:, :-1]
    window = [tf.gather(part, t, batch_dims=1) for part in (to_go, states, actions)]
    return (*window, t), self._sampling.normal(window[2].shape)

  def _gradient_of(self, to_go, states, actions, t, noise):
    with tf.GradientTape() as tape:
      mean, log_std = self.model(
          to_go / self._return_scale, states, actions, t, training=True)
      loss = -tf.reduce_mean(log_likelihood(actions, mean, log_std))
      entropy = tf.reduce_mean(squashed_entropy(mean, log_std, noise))
      objective = loss - tf.exp(self._log_temperature) * entropy
    return loss, entropy, tape.gradient(objective, self.model.trainable_variables)

  def _apply_to_both(self, parts):
    loss, entropy, gradients = mean_of(parts)
    # d/d log lambda of lambda (entropy - beta)
    slope = tf.exp(self._log_temperature) * (entropy - self._target_entropy)
    norm, applied = apply_if_finite(
        self._optimizer, gradients, self.model.trainable_variables, self._clip_norm,
        self._strategy)
    apply_if_finite(self._temperature_optimizer, [slope], [self._log_temperature],
                    strategy=self._strategy)
    return loss, entropy, norm, applied


def log_likelihood(actions, mean, log_std):
  """log pi of actions [..., m] under a squashed Gaussian, summed over m, in nats."""
  actions = tf.clip_by_value(actions, -_LARGEST_ACTION, _LARGEST_ACTION)
  u = tf.atanh(actions)
  gaussian = (-0.5 * ((u - mean) * tf.exp(-log_std)) ** 2 - log_std
              - 0.5 * math.log(2 * math.pi))
  return tf.reduce_sum(gaussian - tf.math.log(1 - actions**2), -1)


def make_decision_transformer_agent(
    system, time_step_spec, action_spec, model_period, seed, model=DecisionTransformer,
    target_score=1.0, learning_rate=1e-3, temperature_learning_rate=1e-3, jit_compile=True,
    parts=None, strategy=None):
  """Builds the agent for a system whose random and optimal returns are known.

  Args:
    system: `System` with a stored optimum.
    time_step_spec: of the environment.
    action_spec: of the environment.
    model_period: not used.
    seed: of exploration and training; the weights follow TensorFlow's own seed.
    model: class of `DecisionTransformer`.
    target_score: the return to reach, as a normalised score: 1 asks for the optimum
      (expert), 2 for as much again above the random policy (overshot).
    learning_rate: of Adam.
    temperature_learning_rate: of Adam, for the entropy's dual variable.
    jit_compile: compile the updates with XLA.
    parts: see `make_asm_agent`.
    strategy: see `make_asm_agent`.
  """
  del model_period
  require_positive(learning_rate=learning_rate,
                   temperature_learning_rate=temperature_learning_rate)
  if not system.is_differentiable:
    raise UserError(f'a return-conditioned agent needs a known optimum, and {system.name} has '
                    'none: train another, such as gin/gymnasium_pendulum.gin.')
  reference = scores.reference_for(system)
  if reference is None and scores.reference(system.name, system.horizon):
    raise UserError(f'a return-conditioned agent needs an optimum, and the one of {system.name} is '
                    'known for its default parameters alone: leave them, noise too.')
  if reference is None:
    raise UserError(
        f'a return-conditioned agent needs the optimum of {system.name} at H = {system.horizon}: '
        f'run `python -m launch.solve --system={system.name} --horizon={system.horizon} --save`.')
  spread = reference.optimal - reference.random
  with variables_of(strategy):
    normalizer = Normalizer(system.state_size, system.horizon)
    model = model(normalizer, system.state_size, system.action_size)
    optimizer, temperature_optimizer = (
        tf.keras.optimizers.Adam(rate, jit_compile=False)
        for rate in (learning_rate, temperature_learning_rate))
  return DecisionTransformerAgent(
      time_step_spec, action_spec,
      model=model,
      optimizer=optimizer,
      temperature_optimizer=temperature_optimizer,
      horizon=system.horizon,
      target_return=reference.random + target_score * spread,
      return_scale=spread,
      target_entropy=-float(system.action_size),
      seed=seed,
      jit_compile=jit_compile,
      parts=default_parts(strategy) if parts is None else parts,
      strategy=strategy)
