"""Short imagination that ends with a critic."""

import dataclasses
import functools
import types

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import time_step as ts

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.averaged_actor import AveragedActor
from asm_tf.agents.critic import Critic
from asm_tf.agents.critic_learner import CriticLearner
from asm_tf.agents.entropy_constant import EntropyConstant
from asm_tf.agents.execution import Execution
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.policy_learner import PolicyLearner
from asm_tf.agents.world import World
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.errors import UserError
from asm_tf.models.continuation import ContinuationModel, RewardUntilTermination
from asm_tf.models.loss import mask_weights, prediction_loss
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.timed import TimedModel
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor, squash, squashed_entropy
from asm_tf.replay import episode_steps
from asm_tf.systems.myriad.timber_harvest import TimberHarvest
from asm_tf.systems.system import System
from asm_tf.training.trainer import Trainer
from tests.support import gymnasium_environments
from tests.support.small_models import randomise

H, K, B = 9, 3, 4
EAGER = Execution(jit_compile=False, microbatches=1)


class LinearQuadratic(System):
  """s' = A s + B a, r = -s'Qs - a'Ra, with more weight on late steps."""

  start = (1.0, -0.5)
  state_bounds = ((-100.0, 100.0),) * 2
  control_bounds = ((-1.0, 1.0),)
  duration = 1.0

  def _transition(self, state, action, t):
    return tf.linalg.matvec([[1.1, 0.2], [-0.3, 0.9]], state) + tf.linalg.matvec(
        [[0.3], [0.8]], action)

  def _reward(self, state, action, t):
    weight = 1 + 0.1 * tf.cast(t, state.dtype)
    return -weight * (state[..., 0]**2 + 0.5 * state[..., 1]**2 + 0.3 * action[..., 0]**2)


class Gains(tf.Module):
  """a_t = tanh(theta_t . (s_t, 1)); a gain of 0 makes it a sequence of actions."""

  def __init__(self, feedback):
    super().__init__()
    gains = np.random.default_rng(0).normal(0, 0.4, [H, 3])
    gains[:, :2] *= feedback
    self.theta = tf.Variable(gains, dtype=tf.float32)

  def __call__(self, state, t):
    gains = tf.tensordot(tf.one_hot(t, H), self.theta, 1)
    mean = tf.reduce_sum(gains[..., :2] * state, -1, keepdims=True) + gains[..., 2:]
    return mean, tf.fill(tf.shape(mean), -30.0)  # no noise


class KnownCritic(Critic):
  """Knows the true return from any step on."""

  def know(self, system, actor):
    self._system, self._actor = system, actor
    return self

  def estimates(self, observations, actions):
    system, actor = self._system, self._actor
    returns = []
    for i, t in enumerate(observations[:, -1].numpy().astype(int)):
      state, action, total = observations[i:i + 1, :-1], actions[i:i + 1], 0.0
      for step in range(t, H):
        if step > t:
          action = tf.tanh(actor(state, step)[0])
        total += system.reward(state, action, step)[0]
        state = system.step(state, action, step)
      returns.append(total + tf.reduce_sum(0 * action))
    return [tf.stack(returns)] * 2


def build_setup(system, **changes):
  env = SystemEnvironment(system, B)
  setup = AgentSetup(system, env.time_step_spec(), env.action_spec(), 2, 0, EAGER)
  return dataclasses.replace(setup, **changes)


@pytest.mark.parametrize('first', [0, 2, 5, 7])
@pytest.mark.parametrize('closed', [0.0, 1.0])
def test_with_the_true_value_the_gradient_is_that_of_the_whole_horizon(first, closed):
  """Of the gains of the window's steps; in closed loop with feedback, in open loop without."""
  system, actor = LinearQuadratic(H), Gains(feedback=closed)
  setup = build_setup(system, window=K)
  normalizer = Normalizer(2, H, enabled=False)
  frozen = Gains(feedback=closed)  # the critic's policy is no function of theta
  critic = KnownCritic(setup, normalizer, discount=1.0, imagined_steps=K).know(system, frozen)
  policy = types.SimpleNamespace(trained=actor, average=actor, update=lambda scale: None)
  state = tf.constant(np.random.default_rng(1).normal(size=(B, 2)), tf.float32)

  def gradient(setup, critic, starts):
    world = World(TrueDynamics(system), system.reward, normalizer, critic)
    learner = PolicyLearner(policy, world, setup, closed_loop_weight=closed)
    steps = K + 1 if critic else H - first
    return learner.policy_gradient(world, starts, tf.zeros([B, steps, 1]))

  first_step = tf.fill([B, 1], float(first))
  found = gradient(setup, critic, tf.concat([state, first_step], 1))
  whole = gradient(dataclasses.replace(setup, window=H), None, tf.concat([state, first_step], 1))
  np.testing.assert_allclose(found.returns, whole.returns, rtol=1e-5)
  window = slice(first, min(first + K + 1, H))
  expected = whole.gradients[0][window]
  assert np.all(np.abs(expected[:, 2]) > 1e-3)
  np.testing.assert_allclose(found.gradients[0][window], expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize('time_aware', [False, True])
def test_a_limit_that_only_cuts_short_ends_nothing_imagined(time_aware):
  system = TimberHarvest(H)
  system.time_aware = time_aware
  critic = Critic(build_setup(system, window=K), Normalizer(1, H, time_aware=False),
                  hidden_sizes=(8,), imagined_steps=K)
  rewards = critic.lambda_return(lambda states, actions, t: tf.ones(states.shape[:2]))
  late, early = (rewards(tf.ones([1, K + 1, 1]), tf.zeros([1, K + 1, 1]), t)
                 for t in (tf.range(H - 1, H + K), tf.range(K + 1)))
  assert np.allclose(late, early, rtol=1e-6) == (not time_aware)


@pytest.mark.parametrize(('trace_decay', 'trust'), [(1.0, 1.0), (0.6, 1.0), (1.0, 0.6), (1.0, 0.0)])
def test_the_sum_of_rewards_is_the_lambda_return(trace_decay, trust):
  setup = build_setup(TimberHarvest(H), window=K)
  normalizer = Normalizer(1, H)
  critic = Critic(setup, normalizer, hidden_sizes=(8,), discount=0.9, imagined_steps=K,
                  trace_decay=trace_decay)
  critic.trust.assign(trust)
  decay = trace_decay * trust
  critic.units._moments.update(tf.constant([[1.0], [5.0]]))  # a spread of 2
  generator = np.random.default_rng(0)
  states, actions = (tf.constant(generator.uniform(-3, 3, [B, K + 1, 1]), tf.float32)
                     for _ in range(2))
  reward = RewardUntilTermination(
      RewardModel(normalizer, 1, 1, (8,)), ContinuationModel(normalizer, 1, (8,)))
  t = tf.constant([0, 2, 6, 8])[:, None] + tf.range(K + 1)
  flat = tf.reshape(tf.concat([states, tf.cast(t, tf.float32)[..., None]], -1), [-1, 2])
  estimates = functools.partial(critic.estimates, flat, tf.reshape(actions, [-1, 1]))
  one, other = estimates()
  critic._networks[0].trainable_variables[-1].assign_add([np.median(other - one)])
  one, other = (np.reshape(2 * q, [B, K + 1]) for q in estimates())
  assert np.any(one < other)
  assert np.any(one > other)
  going = tf.sigmoid(reward.continuation(states, t)).numpy()
  each, is_open = reward.reward(states, actions, t).numpy(), t.numpy() < H
  smaller = np.where(is_open, np.minimum(one, other), 0)
  value = smaller[:, -1]
  for j in reversed(range(K)):
    later = each[:, j] + 0.9 * going[:, j + 1] * value
    value = np.where(is_open[:, j], (1 - decay) * smaller[:, j] + decay * later, 0)
  found = tf.reduce_sum(critic.lambda_return(reward)(states, actions, t), 1)
  np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)


def corridor(**settings):
  return GymnasiumSystem(gymnasium_environments.LIMIT, 'asm_tf_test/Corridor-v0', **settings)


def make_agent(setup, **settings):
  return make_asm_agent(
      setup, world_model=functools.partial(LSTM, embedding_size=4, hidden_sizes=(4,)),
      reward_model=functools.partial(RewardModel, hidden_sizes=(4,)),
      actor=functools.partial(SquashedGaussianActor, hidden_sizes=(4,)),
      critic=functools.partial(Critic, hidden_sizes=(8,), imagined_steps=K, **settings))


def collected(time_aware=False, **settings):
  """A trainer and windows of its first episodes."""
  tf.keras.utils.set_random_seed(0)
  trainer = Trainer(corridor(time_aware=time_aware), functools.partial(make_agent, **settings), 0,
                    EAGER, warmup_steps=10_000, batch_size=32)
  while trainer.env_steps < 100:
    trainer.warm_up()
    trainer._take(trainer.last_episode())
  return trainer, trainer.replay.get_next(32)[0]


@pytest.mark.parametrize('time_aware', [False, True])
def test_the_critic_learns_from_what_really_followed(time_aware):
  trainer, windows = collected(time_aware, discount=0.9)
  learner, critic = trainer.agent.other_learners[1], trainer.agent.world.critic
  actor, average = trainer.agent.policy_learner.actor, trainer.agent.policy_learner.average_actor
  for part in (*critic._targets, average):  # what equals another before the first update
    for variable in part.trainable_variables:
      variable.assign_add(0.1 * tf.ones_like(variable))
  assert trainer.agent.model_validation._actor is actor
  noise = tf.random.normal([32, K, 1], seed=1)
  weights = tf.cast(windows.next_step_type[:, :-1] != ts.StepType.FIRST, tf.float32)
  loss = learner._loss_and_gradient(
      windows.observation, windows.action[:, :-1], windows.reward[:, :-1],
      windows.discount[:, :-1], noise, weights)[0]
  total, ends, cuts = 0.0, 0, 0
  for i in range(32):
    for t in range(K):
      if windows.step_type[i, t] == ts.StepType.LAST:
        break
      observation, after = windows.observation[i, t][None], windows.observation[i, t + 1][None]
      mean, log_std = actor(after[:, :-1], after[:, -1])
      action = squash(mean, log_std, noise[i, t][None])
      ended = windows.next_step_type[i, t] == ts.StepType.LAST
      left = abs(after[0, 0]) > 1  # the corridor
      ends, cuts = ends + int(ended and left), cuts + int(ended and not left)
      value = 0.0 if left or (ended and time_aware) else (
          critic.target_value(after, action)
          + critic.entropy_constant * squashed_entropy(mean, log_std, noise[i, t][None]))
      goal = windows.reward[i, t] / critic.units.scale + 0.9 * value
      total += sum((q - goal)**2 for q in critic.estimates(observation, windows.action[i, t][None]))
  assert min(ends, cuts) > 0
  assert loss.numpy() == pytest.approx(total.numpy().item() / (32 * K), rel=1e-4)


def test_the_smaller_target_counts():
  critic = Critic(build_setup(TimberHarvest(H)), Normalizer(1, H), (8,))
  generator = np.random.default_rng(0)
  observations, actions = (
      tf.constant(generator.uniform(-3, 3, [64, size]), tf.float32) for size in (2, 1))
  one, other = critic.estimates(observations, actions)  # of which the targets are copies
  assert not np.any(one == other)
  np.testing.assert_allclose(
      critic.target_value(observations, actions), np.minimum(one, other), rtol=1e-6)


def test_the_policy_counts_in_the_critics_units():
  trainer, windows = collected(entropy_constant=EntropyConstant(0.01))
  learner, world = trainer.agent.policy_learner, trainer.agent.world
  world.critic.units._moments.update(tf.fill([1000, 1], 5.0))  # far from 1
  scale = world.critic.units.scale
  assert scale > 3
  inputs = learner.starts(windows), learner.draw_noise()
  imagined = learner.policy_gradient(world, *inputs, scale, world.critic.entropy_constant)
  learner.update(*inputs)
  assert learner.metrics.values()['policy_gradient_norm'].numpy() == pytest.approx(
      tf.linalg.global_norm(imagined.gradients).numpy(), rel=1e-3)


def test_the_unit_is_the_size_of_a_reward():
  trainer, _ = collected()
  rows = trainer.replay.gather_all()
  rewards = rows.reward[~rows.is_boundary()].numpy()
  scale = trainer.agent.world.critic.units.scale.numpy()
  assert scale == pytest.approx(np.sqrt(np.mean(rewards**2)), rel=1e-4)


def test_rewards_are_not_centred():
  critic = Critic(build_setup(TimberHarvest(H)), Normalizer(1, H), (4,))
  critic.units._moments.update(tf.constant([[4.0], [6.0]]))
  assert float(critic.units.normalize(0.0)) == 0


def test_an_update_of_the_policy_tunes_the_entropy_constant():
  trainer, windows = collected(entropy_constant=EntropyConstant(0.2, True, 1e-2))
  learner, critic = trainer.agent.policy_learner, trainer.agent.world.critic
  seen = [0.2]
  for bias in (0.75, -3.0):  # sigma of 0.9, whose entropy is above the target, and of 0.007
    learner.actor._log_std.bias.assign([bias])
    learner.update(learner.starts(windows), learner.draw_noise())
    seen.append(float(critic.entropy_constant))
  assert seen[1] < seen[0]
  assert seen[2] > seen[1]


def test_targets_follow_slowly():
  trainer, windows = collected(target_update_tau=0.25)
  critic = trainer.agent.world.critic
  trained, before = critic.trainable_variables, [v.numpy() for v in critic.trainable_variables]
  slow = [v for network in critic._targets for v in network.trainable_variables]
  for variable, value in zip(slow, before, strict=True):
    np.testing.assert_array_equal(variable, value)
  trainer.agent.train(windows)
  for target, variable, value in zip(slow, trained, before, strict=True):
    np.testing.assert_allclose(target, 0.25 * variable + 0.75 * value, rtol=1e-4, atol=1e-6)
    assert np.any(variable != value)


@pytest.mark.parametrize(('learned', 'entropy', 'direction'), [
    (True, -0.4, -1), (True, -0.6, 1), (False, 3.0, 0)])  # the target is -1/2
def test_the_entropy_constant_moves_towards_its_target(learned, entropy, direction):
  critic = Critic(build_setup(TimberHarvest(H)), Normalizer(1, H), (4,),
                  entropy_constant=EntropyConstant(0.2, learned, 1e-2))
  critic.tune_entropy_constant(tf.constant(entropy))
  change = critic.entropy_constant.numpy() - 0.2
  assert (abs(change) < 1e-6) if direction == 0 else np.sign(change) == direction


def test_what_follows_an_end_changes_nothing():
  """The same weights after updates on windows with other numbers behind the end of an episode."""
  def updated(spoil):
    trainer, windows = collected()
    is_padding = windows.step_type == ts.StepType.LAST
    is_padding &= tf.concat([tf.zeros_like(is_padding[:, :1]), is_padding[:, :-1]], 1)
    assert np.any(is_padding)
    if spoil:
      windows = windows._replace(
          observation=tf.where(is_padding[..., None], 50.0, windows.observation),
          reward=tf.where(windows.step_type == ts.StepType.LAST, 99.0, windows.reward))
    for _ in range(3):
      trainer.agent.train(windows)
    return [v.numpy() for v in trainer.agent.trainable_variables]

  for value, other in zip(updated(True), updated(False), strict=True):
    np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-6)


def test_a_model_of_windows_knows_the_time_in_the_episode():
  generator = np.random.default_rng(0)
  normalizer = Normalizer(2, H, dtype=tf.float64)
  model = LSTM(normalizer.without_time(K), 2, 1 + normalizer.time_size, 4, (3,), dtype='float64')
  randomise(model, generator)
  first_step = tf.constant([0, 4, 6])
  timed = TimedModel(model, normalizer, first_step)
  state, actions = tf.constant(generator.normal(size=(3, 2))), tf.constant(
      generator.normal(size=(3, K, 1)))
  found = timed(state, actions)
  for i, first in enumerate(first_step.numpy()):
    times = normalizer.time(tf.range(first, first + K))
    alone = model(state[i:i + 1], tf.concat([actions[i], times], 1)[None])
    np.testing.assert_allclose(found[i], alone[0], rtol=1e-12)
  np.testing.assert_allclose(
      timed.unroll(state, K, lambda state, t: actions[:, t]), found, rtol=1e-12)
  predicted, residuals = timed.unroll_with_residuals(state, K, lambda state, t: actions[:, t])
  np.testing.assert_allclose(predicted, found, rtol=1e-12)
  np.testing.assert_allclose(
      timed.call_with_residuals(state, actions, residuals), found, rtol=1e-12)
  later = TimedModel(model, normalizer, first_step + 1)
  assert np.max(np.abs(found - later(state, actions))) > 1e-3


def test_a_one_step_model_of_windows_is_forced_at_the_time_in_the_episode():
  generator = np.random.default_rng(0)
  normalizer = Normalizer(2, H, dtype=tf.float64)
  model = Markov(normalizer.without_time(K), 2, 1 + normalizer.time_size, (9,), dtype='float64')
  randomise(model, generator)
  first_step = tf.constant([0, 4, 6])
  states, actions = (
      tf.constant(generator.normal(size=size)) for size in ((3, K + 1, 2), (3, K, 1)))
  found = TimedModel(model, normalizer, first_step).predict_teacher_forced(states, actions)
  for k in range(K):
    alone = TimedModel(model, normalizer, first_step + k)(states[:, k], actions[:, k:k + 1])
    np.testing.assert_allclose(found[:, k], alone[:, 0], rtol=1e-12)


def test_the_model_is_fitted_at_the_time_in_the_episode():
  trainer, windows = collected(time_aware=True)
  world, first_step = trainer.agent.world, tf.cast(windows.observation[:, 0, -1], tf.int32)
  randomise(world.model, np.random.default_rng(0))
  losses = [prediction_loss(
      TimedModel(world.model, world.normalizer, first), world.normalizer,
      windows.observation[..., :-1], windows.action[:, :-1],
      mask_weights(episode_steps.steps_taken(windows))).numpy()
            for first in (first_step, 0 * first_step)]
  assert losses[0] != pytest.approx(losses[1], rel=1e-4)
  assert trainer.agent.loss(windows).loss.numpy() == pytest.approx(losses[0], rel=1e-6)


def test_an_agent_without_a_last_step_needs_a_critic():
  with pytest.raises(UserError, match='make_asm_agent.critic=@Critic'):
    Trainer(corridor(time_aware=False), functools.partial(
        make_asm_agent, reward_model=RewardModel), seed=0)


@pytest.mark.parametrize(('settings', 'message'), [
    ({'discount': 0.0}, 'Critic.discount is 0.0'), ({'discount': 1.5}, 'Critic.discount is 1.5'),
    ({'target_update_tau': 0}, 'Critic.target_update_tau is 0'),
    ({'trace_decay': 1.1}, 'Critic.trace_decay is 1.1'),
    ({'trace_decay': -0.1}, 'Critic.trace_decay is -0.1'),
    ({'imagined_steps': 0}, 'Critic.imagined_steps is 0: .* at least 1'),
    ({'imagined_steps': H}, f'Critic.imagined_steps is {H}: .* from 1 to {H - 1}')])
def test_numbers_out_of_range_are_one_line(settings, message):
  with pytest.raises(UserError, match=message):
    Critic(build_setup(TimberHarvest(H)), Normalizer(1, H), **settings)


def test_the_learner_refuses_a_learning_rate_that_is_not_positive():
  setup = build_setup(TimberHarvest(H))
  with pytest.raises(UserError, match='CriticLearner.learning_rate'):
    CriticLearner(Critic(setup, Normalizer(1, H)), AveragedActor(
        lambda: SquashedGaussianActor(Normalizer(1, H), 1, 1)).trained, setup, learning_rate=0)
