"""The online decision transformer: what it sees, what it is fitted by, and that it can."""

import functools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.policies import policy_saver
from tf_agents.trajectories import trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.decision_transformer_agent import (
    DecisionTransformerAgent,
    make_decision_transformer_agent,
)
from asm_tf.agents.execution import Execution
from asm_tf.environments import scores
from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.errors import UserError
from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.models.normalizer import Normalizer
from asm_tf.policies.return_conditioned import ReturnConditionedPolicy
from asm_tf.policies.returns_to_go import ReturnsToGo
from asm_tf.policies.saved_policy import SavedPolicy
from asm_tf.policies.squashed_gaussian import log_likelihood
from asm_tf.replay.episode_accumulator import EpisodeAccumulator
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.systems.registry import SYSTEMS
from asm_tf.systems.rollout import simulate
from asm_tf.training.checkpointer import Checkpointer
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.trainer import Trainer
from asm_tf.training.workers import Workers

H, K, N, M = 7, 4, 1, 1


def small(system=None, **arguments):
  tf.keras.utils.set_random_seed(0)
  system = system or CancerTreatment(H)
  normalizer = Normalizer(system.state_size, system.horizon)
  sizes = {'context_size': K, 'embedding_size': 12, 'num_layers': 2, 'hidden_size': 16,
           'dropout': 0.0}
  model = DecisionTransformer(
      normalizer, system.state_size, system.action_size, **(sizes | arguments))
  generator = np.random.default_rng(0)
  for variable in model.trainable_variables:  # GPT-2's small weights see next to nothing
    variable.assign_add(0.3 * generator.normal(size=variable.shape).astype('float32'))
  return model


def test_an_action_depends_on_what_comes_before_it_and_nothing_else():
  model = small()
  inputs = [tf.random.stateless_normal(shape, [i, 0])
            for i, shape in enumerate(([1, K], [1, K, N], [1, K, M]))]
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(inputs)
    means = tf.unstack(model(*inputs, tf.range(K)[None])[0][0, :, 0])
  for k, mean in enumerate(means):
    reach = [np.flatnonzero(np.abs(np.reshape(part, [K])) > 1e-9)
             for part in tape.gradient(mean, inputs)]
    np.testing.assert_array_equal(reach[0], np.arange(k + 1))  # returns to go
    np.testing.assert_array_equal(reach[1], np.arange(k + 1))  # states
    np.testing.assert_array_equal(reach[2], np.arange(k))  # actions, its own left out


def test_the_likelihood_is_that_of_a_squashed_gaussian():
  generator = np.random.default_rng(0)
  mean, log_std = tf.constant(generator.normal(size=(2, 5, 3)))
  actions = tf.constant(generator.uniform(-0.99, 0.99, (5, 3)))
  squashed = tfp.distributions.TransformedDistribution(
      tfp.distributions.Normal(mean, tf.exp(log_std)), tfp.bijectors.Tanh())
  np.testing.assert_allclose(log_likelihood(actions, mean, log_std),
                             tf.reduce_sum(squashed.log_prob(actions), -1), rtol=1e-9)
  assert np.all(np.isfinite(log_likelihood(tf.ones_like(actions), mean, log_std)))


def returns_to_go(target, scale, **arguments):
  """Of a random policy that gets 1 at every step."""
  returns = ReturnsToGo(target, scale, H, **arguments)
  returns.observe_random(tf.ones([3, H]))
  return returns


def test_returns_to_go_count_from_what_the_random_policy_still_gets():
  t, to_go = tf.constant([[0, 3, H - 1]]), tf.constant([[10.0, 10.0, 1.0]])
  np.testing.assert_allclose(
      returns_to_go(5.0, 2.0).normalize(to_go, t), [[(10 - H) / 2, (10 - (H - 3)) / 2, 0]])
  np.testing.assert_allclose(
      returns_to_go(5.0, 2.0, centered=False).normalize(to_go, t), to_go / 2)


def test_only_episodes_before_the_first_update_count_as_random():
  trained = trainer()
  while trained.updates == 0:
    trained.iterate()
  episodes, moments = trained.replay.gather_all(), trained.agent._returns._moments
  to_go = tf.cumsum(episodes.reward[:, :-1], 1, reverse=True)  # the last came before the update
  np.testing.assert_allclose(moments.mean, tf.reduce_mean(to_go, 0), rtol=1e-5)
  before = moments.mean.numpy()
  trained.agent.observe(episodes)
  np.testing.assert_array_equal(moments.mean, before)


def test_the_policy_looks_at_the_last_steps_and_the_return_still_to_come():
  model, system = small(), CancerTreatment(H)
  env = SystemEnvironment(system)
  policy = ReturnConditionedPolicy(env.time_step_spec(), env.action_spec(), model,
                                   returns_to_go(5.0, 2.0))
  accumulator = EpisodeAccumulator(policy.trajectory_spec, 1, H + 1)
  driver = DynamicEpisodeDriver(env, policy, [accumulator], num_episodes=1)
  for _ in range(2):  # the second episode knows nothing of the first
    driver.run()
    episode = accumulator.latest()
    states, actions = episode.observation[..., :-1], episode.action
    to_go = 5.0 - tf.cumsum(episode.reward, 1, exclusive=True)
    left = tf.range(H, -1, -1.0)  # of the random policy
    for t in range(H):
      window = slice(max(0, t + 1 - K), t + 1)
      mean, _ = model((to_go - left)[:, window] / 2, states[:, window], actions[:, window],
                      tf.range(window.start, window.stop)[None])
      np.testing.assert_allclose(actions[:, t], tf.tanh(mean[:, -1]), rtol=1e-4, atol=1e-5)


def test_copies_at_different_steps_act_as_each_alone():
  env = SystemEnvironment(CancerTreatment(H))
  policy = ReturnConditionedPolicy(
      env.time_step_spec(), env.action_spec(), small(), returns_to_go(5.0, 2.0))
  play = tf.function(policy.action, autograph=False)

  def after(steps):
    time_step, state = env.reset(), policy.get_initial_state(1)
    for _ in range(steps):
      played = play(time_step, state)
      time_step, state = env.step(played.action), played.state
    return time_step, state

  early, late = after(1), after(K + 1)
  together = tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), early, late)
  apart = [play(*copy).action[0] for copy in (early, late)]
  np.testing.assert_allclose(policy.action(*together).action, apart, rtol=1e-5, atol=1e-6)
  assert abs(apart[0] - apart[1]) > 1e-4


def test_exploration_draws_from_the_models_gaussian():
  model, copies = small(), 2000
  env = SystemEnvironment(CancerTreatment(H), copies)
  policy = ReturnConditionedPolicy(
      env.time_step_spec(), env.action_spec(), model, returns_to_go(5.0, 2.0),
      tf.random.Generator.from_seed(0, alg='philox'))
  first = env.reset()
  actions = policy.action(first, policy.get_initial_state(copies)).action.numpy()
  mean, log_std = model(tf.constant([[(5.0 - H) / 2]]), first.observation[:1, None, :-1],
                        tf.zeros([1, 1, M]), tf.zeros([1, 1], tf.int32))
  draws = (np.arctanh(actions) - mean[0, 0]) / np.exp(log_std[0, 0])
  assert scipy.stats.kstest(draws[:, 0], 'norm').pvalue > 1e-3


def trainer(system=None, jit_compile=False, **arguments):
  tf.keras.utils.set_random_seed(0)
  make_agent = functools.partial(
      make_decision_transformer_agent, model=functools.partial(
          DecisionTransformer, context_size=8, embedding_size=12, hidden_size=16), **arguments)
  return Trainer(system or CancerTreatment(20), make_agent, 0,
                 Execution(jit_compile=jit_compile), warmup_steps=40, batch_size=8)


@pytest.mark.parametrize('target_score', [1.0, 2.0])
def test_the_return_to_reach_is_a_score(target_score):
  agent = trainer(target_score=target_score).agent
  reference = scores.reference('CancerTreatment', 20)
  target = float(agent._returns.target)
  np.testing.assert_allclose(scores.normalised_score(target, reference), target_score, rtol=1e-5)


def test_a_system_without_a_stored_optimum_is_refused():
  with pytest.raises(UserError, match='launch.solve --system=CancerTreatment --horizon=21'):
    trainer(CancerTreatment(21))


def test_windows_hold_the_returns_that_were_reached():
  trained = trainer()
  while trained.env_steps < 40:
    trained.iterate()
  episodes = trained.replay.get_next(8)[0]
  (to_go, states, actions, t, weights), _ = trained.agent._windows(episodes)
  assert len(set(t[:, 0].numpy())) > 1
  for row in range(8):
    begin = int(t[row, 0])
    length = min(8, 20 - begin)
    np.testing.assert_array_equal(t[row, :length], begin + np.arange(length))
    np.testing.assert_array_equal(weights[row] > 0, np.arange(8) < length)
    for k in range(length):
      np.testing.assert_allclose(
          to_go[row, k], tf.reduce_sum(episodes.reward[row, begin + k:-1]), rtol=1e-4)
    part = slice(begin, begin + length)
    np.testing.assert_array_equal(states[row, :length], episodes.observation[row, part, :-1])
    np.testing.assert_array_equal(actions[row, :length], episodes.action[row, part])


def test_windows_begin_at_any_step():
  trained = trainer()
  while trained.env_steps < 40:
    trained.iterate()
  (*_, t, weights), _ = trained.agent._windows(trained.replay.get_next(400)[0])
  assert set(t[:, 0].numpy()) == set(range(20))
  np.testing.assert_allclose(tf.reduce_mean(weights), 1, rtol=1e-5)


def test_states_are_scaled_and_gradients_clipped(monkeypatch):
  trained = trainer(agent=functools.partial(DecisionTransformerAgent, clip_norm=1e-3))
  while trained.env_steps < 40:
    trained.iterate()
  states = trained.replay.gather_all().observation[..., :-1].numpy().reshape(-1, N)
  np.testing.assert_allclose(trained.agent.model.normalizer.normalize(states),
                             (states - states.mean()) / states.std(), atol=1e-3)
  applied = []
  monkeypatch.setattr(trained.agent._optimizer, 'apply_gradients',
                      lambda pairs: applied.append([gradient for gradient, _ in pairs]))
  trained.agent.train(trained.replay.get_next(8)[0])
  np.testing.assert_allclose(tf.linalg.global_norm(applied[0]), 1e-3, rtol=1e-4)


def test_a_restored_run_goes_on_to_the_same_bits(tmp_path):
  def finish(one):
    while one.env_steps < 100:
      one.iterate()
    return [variable.numpy() for variable in one.variables]

  # Outside XLA TensorFlow adds up the gradients of the positions in any order.
  trained = trainer(jit_compile=True)
  while trained.env_steps < 60:
    trained.iterate()
  Checkpointer(trained, tmp_path, Workers(None)).save(0.0, rows=0)
  expected, restored = finish(trained), trainer(jit_compile=True)
  assert Checkpointer(restored, tmp_path, Workers(None)).restore(rows=0) == 0.0
  for value, other in zip(finish(restored), expected, strict=True):
    np.testing.assert_array_equal(value, other)


def test_the_policy_is_likely_and_as_random_as_it_is_asked_to_be():
  """d (loss - lambda entropy) for the policy, d lambda (entropy - beta) for log lambda."""
  system = CancerTreatment(H)
  env, model = SystemEnvironment(system), small()
  setup = AgentSetup(system, env.time_step_spec(), env.action_spec(), 2, 0,
                     Execution(jit_compile=False))
  agent = DecisionTransformerAgent(setup, model, returns_to_go(5.0, 2.0))
  agent._log_temperature.assign(np.log(1000.0))  # the loss of actions drawn at random is large
  to_go, states, actions, noise = (tf.random.stateless_normal([2, K, *size], [i, 0])
                                   for i, size in enumerate(([], [N], [M], [M])))
  weights = tf.constant([[1.0, 2.0, 0.5, 0.0], [2.0, 1.0, 1.5, 0.0]])
  batch = to_go, states, 0.1 * actions, tf.tile(tf.range(K)[None], [2, 1]), weights, noise
  with tf.GradientTape(persistent=True) as tape:
    loss, entropy, found = agent._losses_and_gradient(*batch)
  of_loss, of_entropy = (tape.gradient(x, model.trainable_variables) for x in (loss, entropy))
  for parts in zip(found, of_loss, of_entropy, strict=True):
    gradient, by_loss, by_entropy = map(tf.convert_to_tensor, parts)
    np.testing.assert_allclose(gradient, by_loss - 1000 * by_entropy, rtol=1e-3, atol=1)
    assert np.max(np.abs(1000 * by_entropy)) > 100
  for entropy, sign in ((-M + 0.5, -1), (-M - 0.5, 1)):  # beta is -m
    before = agent._log_temperature.numpy()
    agent._apply_gradients([(loss, tf.constant(entropy), found)])
    assert np.sign(agent._log_temperature.numpy() - before) == sign


def test_a_saved_policy_acts_as_the_one_that_was_saved(tmp_path):
  trained = trainer()
  while trained.updates < 10:
    trained.iterate()
  policy_saver.PolicySaver(trained.agent.policy, batch_size=None).save(str(tmp_path / 'policy'))
  found = [Evaluator(trained.system, make).evaluate().actions for make in (
      lambda *_: trained.agent.policy,
      lambda *specs: SavedPolicy(*specs, str(tmp_path / 'policy')))]
  np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['CancerTreatment', 'MouldFungicide'])
def test_asked_for_the_optimum_it_does_what_reached_it(name):
  """Every batch has new noise: of few episodes it would learn by heart which noise follows which.

  Its own slightly other actions then remind it of one of the bad episodes.
  """
  tf.keras.utils.set_random_seed(0)
  system, generator = SYSTEMS[name](20), np.random.default_rng(0)
  best, env = scores.reference(name, 20), SystemEnvironment(system)
  agent = make_decision_transformer_agent(
      AgentSetup(system, env.time_step_spec(), env.action_spec(), 2, 0, Execution()),
      model=functools.partial(DecisionTransformer, dropout=0.0),
      agent=functools.partial(DecisionTransformerAgent, learning_rate=3e-4))

  @tf.function(autograph=False)
  def episodes_of(actions):
    states, rewards = simulate(system, actions)
    time = tf.broadcast_to(tf.range(21.0)[:, None], [64, 21, 1])
    pad, steps = [[0, 0], [0, 1]], tf.ones([64, 21], tf.int32)
    return trajectory.Trajectory(
        step_type=steps, observation=tf.concat([states, time], -1),
        action=tf.pad(actions, [*pad, [0, 0]]), policy_info=(), next_step_type=steps,
        reward=tf.pad(rewards, pad), discount=tf.ones([64, 21]))

  def near_the_optimum():
    noise = generator.normal(size=(64, 20, system.action_size))
    spread = np.repeat([0.0, 0.3, 0.6, 1.0], 16)[:, None, None]
    return episodes_of(tf.constant(np.clip(best.actions + spread * noise, -1, 1), tf.float32))

  agent.observe(near_the_optimum())
  train = tf.function(agent.train, autograph=False)
  for _ in range(1000):
    train(near_the_optimum())
  reached = Evaluator(system, lambda *_: agent.policy).evaluate().mean_return
  assert scores.normalised_score(reached, best) > 0.95
