"""AsmAgent as TF-Agents expects an agent, and what its updates do and leave alone."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.metrics import tf_metrics
from tf_agents.trajectories import time_step as ts

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.averaged_actor import AveragedActor
from asm_tf.agents.execution import Execution
from asm_tf.agents.gradient_comparison import GradientComparison
from asm_tf.agents.model_learner import ModelLearner
from asm_tf.agents.policy_learner import PolicyLearner
from asm_tf.agents.reward_learner import RewardLearner
from asm_tf.agents.world import World
from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.errors import UserError
from asm_tf.models.loss import prediction_loss
from asm_tf.models.lstm import LSTM
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.replay.episode_accumulator import EpisodeAccumulator
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from asm_tf.systems.rollout import simulate
from tests.support.uniform_policy import uniform_policy

H, B = 4, 8


class Drift(SequenceModel):
  """s_{t+1} = s_0 + w sum of the actions: one variable, for the fast tests."""

  def __init__(self, state_size):
    super().__init__()
    self._weight = self.add_weight(name='weight', shape=[state_size], initializer='ones')

  def call(self, initial_state, actions):
    moved = tf.reduce_mean(tf.cumsum(actions, 1), -1, keepdims=True)
    return initial_state[:, None] + self._weight * moved

  def start(self, initial_state, horizon):
    return initial_state

  def step(self, carry, action, t):
    state = carry + self._weight * tf.reduce_mean(action, -1, keepdims=True)
    return state, state


def drift(system, normalizer):
  return Drift(system.state_size)


def lstm(system, normalizer):
  return LSTM(normalizer, system.state_size, system.action_size, 8, (8,))


def true_dynamics(system, normalizer):
  return TrueDynamics(system)


def build(seed=0, make_model=drift, learn_reward=False, model_period=2, policy_period=16,
          comparison_period=0, loss_weighting='uniform', margin=None, **policy_settings):
  """An environment, an agent with tiny networks, and its (module, optimiser) pairs."""
  tf.keras.utils.set_random_seed(seed)
  system = InvasivePlant(H)
  n, m = system.state_size, system.action_size
  env = SystemEnvironment(system, B)
  setup = AgentSetup(system, env.time_step_spec(), env.action_spec(), model_period, seed,
                     Execution(jit_compile=False, microbatches=1))
  normalizer = Normalizer(n, H, margin=margin)
  model, reward = make_model(system, normalizer), system.reward
  if learn_reward:
    reward = RewardModel(normalizer, n, m, (8,))
  world = World(model, reward, normalizer)
  model_learner = ModelLearner(
      world, setup, learning_rate=1e-2, loss_weighting=loss_weighting)
  actor = AveragedActor(lambda: SquashedGaussianActor(normalizer, n, m, (8,)), rate=1.0)
  policy_learner = PolicyLearner(actor, world, setup, learning_rate=1e-2, **policy_settings)
  reward_learner = RewardLearner(reward, setup, learning_rate=1e-2) if learn_reward else None
  comparison = GradientComparison(policy_learner, world, setup, comparison_period)
  agent = AsmAgent(setup, world, model_learner, policy_learner,
                   [reward_learner] if learn_reward else [],
                   comparison if comparison_period else None, policy_period=policy_period)
  parts = {'model': (model, model_learner._optimizer),
           'actor': (agent.policy, policy_learner._optimizer)}
  if learn_reward:
    parts['reward'] = (reward, reward_learner._optimizer)
  return env, agent, parts


def collect(env, policy):
  """One episode of each copy: a Trajectory [B, H+1, ...]."""
  accumulator = EpisodeAccumulator(policy.trajectory_spec, B, H + 1)
  DynamicEpisodeDriver(env, policy, [accumulator], num_episodes=B).run()
  return accumulator.latest()


def random_experience(env):
  return collect(env, uniform_policy(env, H))


def weights(part):
  """Values of a module and of its optimiser's state, iterations included."""
  module, optimizer = part
  variables = module.variables() if callable(module.variables) else module.variables
  return [v.numpy() for v in (*variables, *optimizer.variables)]


def changed(before, part):
  return any(np.any(x != y) for x, y in zip(before, weights(part), strict=True))


def test_is_a_tf_agent():
  env, agent, _ = build()
  assert isinstance(agent, tf_agent.TFAgent)
  assert agent.time_step_spec == env.time_step_spec()
  assert agent.action_spec == env.action_spec()
  assert agent.train_sequence_length == H + 1
  agent.initialize()
  experience = random_experience(env)
  agent.observe(experience)
  for k in range(3):
    assert agent.train_step_counter.numpy() == k
    info = agent.train(experience)
    assert isinstance(info, tf_agent.LossInfo)
    assert info.loss.shape == ()
    assert np.isfinite(info.loss)
    assert info.loss == agent.metrics()['model_loss'].numpy()
  # What the loss is said to be, before the last update, is what `loss` gives.
  expected = agent.loss(experience).loss
  np.testing.assert_allclose(agent.train(experience).loss, expected, rtol=1e-6)


@pytest.mark.parametrize('which', ['policy', 'collect_policy'])
def test_drivers_and_metrics_work_with_its_policies(which):
  env, agent, _ = build()
  policy, metric = getattr(agent, which), tf_metrics.AverageReturnMetric(batch_size=B)
  DynamicEpisodeDriver(env, policy, [metric], num_episodes=B).run()
  experience = collect(env, policy)
  assert np.all(np.abs(experience.action) <= 1)
  returns = tf.reduce_sum(simulate(env.system, experience.action[:, :-1])[1], 1)
  same = which == 'policy'  # the greedy policy repeats itself
  assert np.allclose(metric.result(), np.mean(returns), rtol=1e-5) == same
  assert len(np.unique(np.round(returns, 4))) == (1 if same else B)


def test_weights_are_refused_since_reward_and_policy_would_not_take_them():
  env, agent, _ = build()
  experience = random_experience(env)
  for use in (agent.train, agent.loss):
    with pytest.raises(NotImplementedError, match='weights of episodes'):
      use(experience, weights=tf.one_hot(0, B))


@pytest.mark.parametrize('loss_weighting', ['uniform', 'inverse_time'])
def test_the_model_is_fitted_by_the_prediction_loss(loss_weighting):
  env, agent, parts = build(loss_weighting=loss_weighting)
  agent.observe(experience := random_experience(env))
  expected = prediction_loss(
      parts['model'][0], agent.world.normalizer, experience.observation[..., :-1],
      experience.action[:, :-1], loss_weighting=loss_weighting)
  np.testing.assert_allclose(agent.train(experience).loss, expected, rtol=1e-5)


@pytest.mark.parametrize(('period', 'model_period'), [(16, 2), (16, 3), (5, 2), (3, 3), (7, 3)])
def test_policy_updates_keep_the_replay_ratio(period, model_period):
  env, agent, parts = build(policy_period=period, model_period=model_period)
  experience = random_experience(env)
  train, iterations = tf.function(agent.train), parts['actor'][1].iterations
  for k in range(1, 35):
    train(experience)
    assert iterations.numpy() == k * model_period // period
    assert parts['model'][1].iterations.numpy() == k


def test_a_policy_cannot_be_updated_more_often_than_the_model():
  with pytest.raises(
      UserError, match='AsmAgent.policy_period is 1: give a whole number, at least 2'):
    build(policy_period=1)


def spoil(experience, field, row, value=np.nan):
  array = getattr(experience, field).numpy()
  array[(1, row, ...)] = value
  return experience._replace(**{field: tf.constant(array)})


@pytest.mark.parametrize(('field', 'row', 'value', 'model_kept', 'actor_kept'), [
    ('observation', 2, np.nan, True, False),  # a later state: the policy starts from s_0
    ('observation', 0, np.nan, True, True),
    ('observation', 2, np.inf, True, False),
    ('action', 1, np.nan, True, False)])
def test_a_bad_number_skips_the_update_and_is_counted(field, row, value, model_kept, actor_kept):
  env, agent, parts = build(make_model=lstm, policy_period=2)
  good = random_experience(env)
  agent.observe(good)
  agent.train(good)  # fills the optimisers' moments
  assert agent.metrics()['skipped_updates'].numpy() == 0
  for variable in agent.policy_learner.average_actor.trainable_variables:
    variable.assign(tf.zeros_like(variable))  # the old policy, taken again, would change it
  before = {name: weights(part) for name, part in parts.items()}
  agent.train(spoil(good, field, row, value))
  assert changed(before['model'], parts['model']) == (not model_kept)
  assert changed(before['actor'], parts['actor']) == (not actor_kept)
  assert agent.metrics()['skipped_updates'].numpy() == model_kept + actor_kept
  agent.train(good)
  assert changed(before['model'], parts['model'])
  assert changed(before['actor'], parts['actor'])
  assert np.isfinite(agent.metrics()['model_loss'])
  assert agent.metrics()['skipped_updates'].numpy() == model_kept + actor_kept


def test_observing_a_bad_episode_leaves_the_scales_finite():
  env, agent, _ = build()
  good = random_experience(env)
  agent.observe(spoil(spoil(good, 'observation', 2), 'reward', 1))
  agent.observe(good)
  agent.train(good)
  assert np.isfinite(agent.metrics()['model_loss'])
  assert np.all(np.isfinite(agent.policy.action(env.reset()).action))


def test_the_model_loss_falls_on_fixed_data():
  env, agent, _ = build(make_model=lstm, policy_period=2000)
  experience = random_experience(env)
  agent.observe(experience)
  train = tf.function(agent.train)
  losses = [float(train(experience).loss) for _ in range(200)]
  assert losses[-1] < losses[0] / 10


def test_policy_updates_raise_the_imagined_return():
  env, agent, _ = build(policy_period=2, entropy_constant=0.0)
  experience = random_experience(env)
  agent.observe(experience)
  train = tf.function(agent.train)
  returns = []
  for _ in range(60):
    train(experience)
    returns.append(agent.metrics()['imagined_return'].numpy())
  spread = np.std(np.diff(returns))
  assert np.mean(returns[-10:]) > np.mean(returns[:10]) + spread


def test_new_episodes_move_the_scales_that_model_and_policy_share():
  env, agent, _ = build()
  experience = random_experience(env)
  agent.observe(experience)
  states = experience.observation[..., :-1].numpy().reshape(-1, env.system.state_size)
  np.testing.assert_allclose(agent.world.normalizer.normalize(states),
                             (states - states.mean(0)) / states.std(0), atol=1e-3)


def test_imagination_is_bounded_and_the_fit_is_not():
  env, agent, _ = build(margin=0.1, policy_period=2)
  agent.observe(experience := random_experience(env))
  agent.world.model._weight.assign(tf.fill([env.system.state_size], 1e6))
  expected = prediction_loss(agent.world.model, agent.world.normalizer,
                             experience.observation[..., :-1], experience.action[:, :-1])
  found = agent.train(experience).extra
  np.testing.assert_allclose(found['model_loss'], expected, rtol=1e-5)
  assert abs(found['imagined_return']) < 1e3


def test_every_policy_update_imagines_with_new_normal_noise():
  env, agent, _ = build(batch_size=500)
  first, second = (agent.policy_learner.draw_noise().numpy() for _ in range(2))
  assert first.shape == (500, H, env.system.action_size)
  assert scipy.stats.kstest(first.ravel(), 'norm').pvalue > 1e-3
  assert not np.any(first == second)


def policy_update(entropy_constant=0.0, **settings):
  """An agent in the true dynamics, an episode batch, and the inputs of a policy update."""
  env, agent, _ = build(
      make_model=true_dynamics, entropy_constant=entropy_constant, **settings)
  experience = random_experience(env)
  agent.observe(experience)
  learner = agent.policy_learner
  return agent, experience, (learner.starts(experience), learner.draw_noise())


def test_returns_count_in_units_of_their_spread():
  agent, experience, inputs = policy_update()
  gradient = agent.policy_learner.policy_gradient(agent.world, *inputs).gradients
  agent.policy_learner.update(*inputs)
  spread = np.std(np.sum(experience.reward[:, :-1], 1))
  assert abs(np.log(spread)) > 0.1
  assert agent.metrics()['policy_gradient_norm'].numpy() == pytest.approx(
      tf.linalg.global_norm(gradient).numpy() / spread, rel=1e-3)


def test_the_entropy_counts_as_its_mean_over_the_steps():
  agent, experience, inputs = policy_update(entropy_constant=5.0)
  learner, spread = agent.policy_learner, np.std(np.sum(experience.reward[:, :-1], 1))
  norms = [tf.linalg.global_norm(learner.policy_gradient(
      agent.world, *inputs, spread, constant).gradients).numpy() for constant in (0, 5 / H, 5)]
  assert abs(np.log(norms[1] / norms[0])) > 0.1
  assert abs(np.log(norms[2] / norms[1])) > 0.1
  learner.update(*inputs)
  assert agent.metrics()['policy_gradient_norm'].numpy() == pytest.approx(norms[1], rel=1e-3)


def test_imagination_starts_where_the_drawn_episodes_do():
  agent, experience, (starts, _) = policy_update(batch_size=B + 3)
  np.testing.assert_array_equal(starts, np.resize(experience.observation[:, 0], starts.shape))
  moved = experience._replace(observation=experience.observation + tf.range(B * 1.0)[:, None, None])
  np.testing.assert_array_equal(agent.policy_learner.starts(moved)[B:], moved.observation[:3, 0])


@pytest.mark.parametrize('clip_norm', [1e-4, 1e4])
def test_the_policy_gradient_is_clipped(clip_norm, monkeypatch):
  agent, _, inputs = policy_update(clip_norm=clip_norm)
  applied = []
  monkeypatch.setattr(agent.policy_learner._optimizer, 'apply_gradients',
                      lambda pairs: applied.append([gradient for gradient, _ in pairs]))
  agent.policy_learner.update(*inputs)
  norm = agent.metrics()['policy_gradient_norm'].numpy()
  assert 1e-3 < norm < 1e3
  assert tf.linalg.global_norm(applied[0]).numpy() == pytest.approx(min(norm, clip_norm), rel=1e-4)


def time_steps(env, count):
  """The same observation `count` times."""
  observation = tf.tile(env.reset().observation[:1], [count, 1])
  return ts.restart(observation, batch_size=count)


def test_the_average_is_evaluated_and_the_newest_explores():
  _, agent, _ = build()
  learner = agent.policy_learner
  for policy, actor, other in ((agent.policy, learner.average_actor, learner.actor),
                               (agent.collect_policy, learner.actor, learner.average_actor)):
    owned = {variable.ref() for variable in policy.variables()}
    assert owned >= {variable.ref() for variable in actor.trainable_variables}
    assert not owned & {variable.ref() for variable in other.trainable_variables}


def test_the_greedy_policy_is_tanh_of_the_mean():
  env, agent, _ = build()
  time_step = time_steps(env, 3)
  observation = time_step.observation
  actor = agent.policy_learner.actor
  mean, _ = actor(observation[:, :-1], observation[:, -1])
  for _ in range(2):
    np.testing.assert_array_equal(agent.policy.action(time_step).action, tf.tanh(mean))
  np.testing.assert_allclose(
      agent.policy.distribution(time_step).action.mode(), tf.tanh(mean), rtol=1e-6)


def test_sampled_actions_follow_the_distribution():
  env, agent, _ = build()
  samples = 5000
  time_step = time_steps(env, samples)
  fresh = agent.collect_policy.get_initial_state(samples)
  actions = agent.collect_policy.action(time_step, fresh).action.numpy()
  distribution = agent.collect_policy.distribution(time_step, fresh).action
  expected = distribution.sample(seed=1).numpy()
  for i in range(env.system.action_size):
    assert scipy.stats.ks_2samp(actions[:, i], expected[:, i]).pvalue > 1e-3
  surprise, other = (-distribution.log_prob(x).numpy() for x in (actions, expected))
  error = np.std(other) * np.sqrt(2 / samples)
  np.testing.assert_allclose(np.mean(surprise), np.mean(other), atol=5 * error)
  again = agent.collect_policy.action(time_step, fresh).action.numpy()
  assert not np.any(again == actions)


def test_the_seed_fixes_exploration_and_updates():
  def run(seed):
    env, agent, parts = build(seed, policy_period=2)
    experience = collect(env, agent.collect_policy)
    agent.train(experience)
    return [experience.action.numpy(), *weights(parts['actor'])]

  first, same, other = run(0), run(0), run(1)
  assert all(np.array_equal(x, y) for x, y in zip(first, same, strict=True))
  assert not np.array_equal(first[0], other[0])


def trained_once(**arguments):
  """An agent's parts and losses after one `train` on random data."""
  env, agent, parts = build(**arguments)
  experience = random_experience(env)
  agent.observe(experience)
  agent.train(experience)
  losses = {name: value.numpy() for name, value in agent.metrics().items()}
  return experience, parts, losses


def test_a_learned_reward_is_fitted_beside_the_model():
  env, agent, parts = build(learn_reward=True, policy_period=2000)
  assert np.isnan(agent.metrics()['reward_loss'])
  experience, before = random_experience(env), weights(parts['reward'])
  agent.observe(experience)
  train, losses = tf.function(agent.train), []
  for _ in range(200):
    losses.append(train(experience).extra['reward_loss'].numpy())
  assert losses[-1] < losses[0] / 10
  assert changed(before, parts['reward'])
  reward, _ = parts['reward']
  predicted = reward(experience.observation[:, :-1, :-1], experience.action[:, :-1], tf.range(H))
  wanted = experience.reward[:, :-1]
  np.testing.assert_allclose(
      np.mean((predicted - wanted) ** 2) / np.var(wanted), losses[-1], rtol=0.2)


def test_a_given_reward_has_no_loss():
  _, agent, _ = build()
  assert 'reward_loss' not in agent.metrics()
  assert 'gradient_cosine' not in agent.metrics()


def test_policy_updates_leave_model_and_learned_reward_alone():
  (_, updated, losses), (_, waiting, _) = (
      trained_once(make_model=lstm, learn_reward=True, policy_period=period)
      for period in (2, 2000))
  assert losses['policy_gradient_norm'] > 0
  assert changed(weights(waiting['actor']), updated['actor'])
  for name in ('model', 'reward'):
    assert not changed(weights(waiting[name]), updated[name])


def test_the_policy_follows_the_learned_reward_and_not_the_true_one():
  env, agent, parts = build(
      make_model=true_dynamics, learn_reward=True, policy_period=2, entropy_constant=0.0)
  reward, _ = parts['reward']
  for variable in reward.trainable_variables:
    variable.assign(tf.zeros_like(variable))  # one reward for everything: the mean
  experience = random_experience(env)
  agent.observe(experience)
  losses = agent.train(experience).extra
  assert losses['policy_gradient_norm'] == 0
  spread = np.std(experience.reward[:, :-1])
  np.testing.assert_allclose(losses['imagined_return'], H * np.mean(experience.reward[:, :-1]),
                             atol=0.1 * spread)  # it has done one small step from there


def test_a_bad_reward_skips_the_update_of_the_learned_one():
  env, agent, parts = build(learn_reward=True, policy_period=2000)
  good = random_experience(env)
  agent.observe(good)
  agent.train(good)
  before = {name: weights(part) for name, part in parts.items()}
  agent.train(spoil(good, 'reward', 1))
  assert not changed(before['reward'], parts['reward'])
  assert changed(before['model'], parts['model'])
  assert agent.metrics()['skipped_updates'].numpy() == 1


@pytest.mark.parametrize('closed_loop_weight', [0.0, 1.0])
def test_the_gradient_through_the_true_dynamics_is_the_simulators_own(closed_loop_weight):
  env, agent, _ = build(
      make_model=true_dynamics, policy_period=4, comparison_period=1,
      closed_loop_weight=closed_loop_weight)
  experience = random_experience(env)
  agent.train(experience)
  assert np.isnan(agent.metrics()['gradient_cosine'])  # no policy update yet
  assert np.isnan(agent.metrics()['gradient_relative_error'])
  agent.train(experience)
  np.testing.assert_allclose(agent.metrics()['gradient_cosine'], 1, atol=1e-5)
  np.testing.assert_allclose(agent.metrics()['gradient_relative_error'], 0, atol=1e-5)


def test_the_error_of_a_gradient_counts_in_the_simulators_norm():
  env, agent, _ = build(comparison_period=1)
  learner, system = agent.policy_learner, env.system
  inputs = learner.starts(random_experience(env)), learner.draw_noise()
  agent._gradient_comparison.observe(*inputs)
  learned, true = (
      np.concatenate([np.ravel(gradient) for gradient in learner.policy_gradient(
          world, *inputs).gradients])
      for world in (agent.world, World(
          TrueDynamics(system), system.reward, agent.world.normalizer)))
  assert abs(np.log(np.linalg.norm(learned) / np.linalg.norm(true))) > 0.1
  np.testing.assert_allclose(agent.metrics()['gradient_relative_error'],
                             np.linalg.norm(learned - true) / np.linalg.norm(true), rtol=1e-3)


def test_gradients_are_compared_every_so_many_policy_updates():
  env, agent, _ = build(policy_period=2, comparison_period=3)
  experience = random_experience(env)
  rows = [agent.train(experience).extra for _ in range(7)]
  for name in ('gradient_cosine', 'gradient_relative_error'):
    values = [row[name].numpy() for row in rows]
    assert [k for k in range(1, 7) if values[k] != values[k - 1]] == [3, 6]
    assert np.all(np.isfinite(values))
    assert not np.any(np.isclose(values, name == 'gradient_cosine'))


def test_comparing_gradients_changes_no_update():
  (_, with_, _), (_, without, _) = (
      trained_once(policy_period=2, **more) for more in ({'comparison_period': 1}, {}))
  assert not changed(weights(with_['actor']), without['actor'])


def test_a_model_with_nothing_to_train_trains_the_policy():
  env, agent, parts = build(make_model=true_dynamics, policy_period=2, entropy_constant=0.0)
  experience = random_experience(env)
  agent.observe(experience)
  before, train, returns = weights(parts['actor']), tf.function(agent.train), []
  for _ in range(60):
    info = train(experience)
    returns.append(info.extra['imagined_return'].numpy())
  assert info.loss < 1e-8
  assert info.extra['model_gradient_norm'] == 0
  assert info.extra['skipped_updates'] == 0
  assert changed(before, parts['actor'])
  assert np.mean(returns[-10:]) > np.mean(returns[:10]) + np.std(np.diff(returns))


def test_a_policy_counts_in_the_average_as_far_as_it_is_trusted():
  env, agent, _ = build(make_model=true_dynamics)
  learner, rate = agent.policy_learner, 0.02
  learner._averaged_actor._rate = rate
  inputs = learner.starts(random_experience(env)), learner.draw_noise()
  learner.update(*inputs, 1.0)
  learner.update(*inputs, 0.25)
  np.testing.assert_allclose(
      learner._averaged_actor._total_weight, rate + 0.25 * rate * (1 - rate), rtol=1e-5)


@pytest.mark.parametrize('weight', [-0.1, 1.1, float('nan')])
def test_a_closed_loop_weight_is_from_0_to_1(weight):
  with pytest.raises(UserError, match='closed_loop_weight is .*: give a number from 0 to 1'):
    build(closed_loop_weight=weight)


def test_the_closed_loop_weight_changes_the_gradient():
  norms = [trained_once(make_model=true_dynamics, policy_period=2, closed_loop_weight=weight)[2]
           ['policy_gradient_norm'] for weight in (0.0, 1e-9, 1.0)]
  np.testing.assert_allclose(norms[0], norms[1], rtol=1e-5)  # by the sequential route
  assert not np.isclose(norms[0], norms[2], rtol=1e-4)
