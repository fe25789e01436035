"""Prequential validation: the skill of models whose errors are known, and what follows from it."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.execution import Execution
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.model_validation import ModelValidation
from asm_tf.agents.world import World
from asm_tf.environments.system_environment import SystemEnvironment
from asm_tf.models.lstm import LSTM
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from asm_tf.systems.rollout import simulate

H = 6


class Offset(SequenceModel):
  """The true dynamics and an error that can be set."""

  def __init__(self, system, offset=0.0):
    super().__init__()
    self._true, self.offset = TrueDynamics(system), tf.Variable(offset, trainable=False)

  def call(self, initial_state, actions, training=False):
    # The first of two is the episode that the model has been trained on.
    sign = tf.reshape(tf.range(1.0 - initial_state.shape[0], 1.0), [-1, 1, 1])
    return self._true(initial_state, actions) + self.offset * (1 + self.only_new * sign)

  only_new = 0.0


class OffsetOfTheNew(Offset):
  only_new = 1.0


def episodes_of(system, generator, count=1):
  actions = tf.constant(generator.uniform(-1, 1, (count, H, system.action_size)), tf.float32)
  states, rewards = simulate(system, actions)
  time = tf.broadcast_to(tf.range(H + 1, dtype=tf.float32)[:, None], [count, H + 1, 1])
  kinds = tf.constant([[0] + [1] * (H - 1) + [2]] * count)
  following = tf.constant([[1] * (H - 1) + [2, 0]] * count)
  return Trajectory(kinds, tf.concat([states, time], -1), _padded(actions), (), following,
                    _padded(rewards), tf.ones([count, H + 1]))


def ended(episode, length):
  """The episode as if it had ended after `length` steps, with other numbers behind its end."""
  is_padding = tf.range(H + 1) > length
  return episode._replace(
      step_type=tf.where(tf.range(H + 1) >= length, 2, episode.step_type),
      next_step_type=tf.where(tf.range(H + 1) >= length - 1, 2, episode.next_step_type),
      observation=tf.where(is_padding[:, None], 77.0, episode.observation),
      reward=tf.where(tf.range(H + 1) >= length, 0.0, episode.reward))


def _padded(x):
  """With a row for the boundary."""
  return tf.concat([x, tf.zeros_like(x[:, :1])], 1)


def validation_of(make_model, **settings):
  tf.keras.utils.set_random_seed(0)
  system = InvasivePlant(H)
  env = SystemEnvironment(system, 1)
  setup = AgentSetup(system, env.time_step_spec(), env.action_spec(), 2, 0, Execution())
  normalizer = Normalizer(system.state_size, H)
  world = World(make_model(system), system.reward, normalizer)
  return system, normalizer, ModelValidation(world, setup, **settings)


def observe(make_model, count=20, last_length=H, **settings):
  """The validation, and the states [count, H+1, n] that it saw."""
  system, normalizer, validation = validation_of(make_model, **settings)
  generator, seen = np.random.default_rng(0), []
  for i in range(count):
    episode = episodes_of(system, generator)
    validation.observe(ended(episode, last_length) if i == count - 1 else episode)
    normalizer.update(episode.observation[..., :-1])
    seen.append(episode.observation[0, :, :-1].numpy())
  return validation, np.array(seen)


def values(validation):
  return {name: float(value) for name, value in validation.metrics.values().items()}


def skill_of_offset(states, offset, length=H):
  """By the definition, in numpy, of the last episode, and the loss."""
  before = states[:-1]
  std = before.reshape(-1, before.shape[-1]).std(0)
  reference = np.mean((before[:, 1:].std(0) / std)**2, -1)  # [H]
  error = np.mean((offset / std)**2)
  return np.mean(np.maximum(1 - error / reference, 0)[:length]), error


def test_the_true_dynamics_are_trusted_and_have_no_error():
  found = values(observe(TrueDynamics)[0])
  np.testing.assert_allclose(found['training_skill'], 1, atol=1e-5)
  np.testing.assert_allclose(found['validation_skill'], 1, atol=1e-5)
  np.testing.assert_allclose(found['model_trust'], 1, atol=1e-5)
  np.testing.assert_allclose(found['model_validation_loss'], 0, atol=1e-8)
  np.testing.assert_allclose(found['return_validation_error'], 0, atol=1e-4)


@pytest.mark.parametrize('offset', [0.05, 0.2, 30.0])
def test_skill_and_loss_equal_their_definition(offset):
  validation, states = observe(lambda system: Offset(system, offset))
  skill, error = skill_of_offset(states, offset)
  found = values(validation)
  np.testing.assert_allclose(found['model_validation_loss'], error, rtol=1e-3)
  np.testing.assert_allclose(found['validation_skill'], skill, atol=1e-4)
  np.testing.assert_allclose(found['training_skill'], skill, atol=1e-4)
  np.testing.assert_allclose(found['model_trust'], skill, atol=1e-4)


def test_what_follows_an_end_is_not_validated():
  validation, states = observe(lambda system: Offset(system, 0.8), last_length=3)
  found = values(validation)
  (skill, error), (trained, _) = (skill_of_offset(states, 0.8, length) for length in (3, H))
  assert abs(skill - trained) > 0.01
  np.testing.assert_allclose(found['model_validation_loss'], error, rtol=1e-3)
  np.testing.assert_allclose(found['validation_skill'], skill, atol=1e-4)
  np.testing.assert_allclose(found['training_skill'], trained, atol=1e-4)


def test_the_error_of_the_return_counts_in_the_spread_of_the_returns_before():
  system, _, validation = validation_of(lambda system: Offset(system, 0.2))
  generator, returns = np.random.default_rng(0), []
  for _ in range(20):
    episode = episodes_of(system, generator)
    validation.observe(episode)
    returns.append(float(tf.reduce_sum(episode.reward)))
  states, actions = episode.observation[:, :-1, :-1], episode.action[:, :-1]
  predicted = states + 0.2 * tf.cast(tf.range(H) > 0, tf.float32)[:, None]  # but for s_0
  imagined = float(tf.reduce_sum(system.reward(predicted, actions, tf.range(H))))
  found = values(validation)
  np.testing.assert_allclose(found['return_spread'], np.std(returns[:-1]), rtol=1e-4)
  np.testing.assert_allclose(found['return_validation_error'],
                             abs(imagined - returns[-1]) / np.std(returns[:-1]), rtol=1e-3)


def test_a_model_that_does_worse_on_the_new_episode_is_not_trusted():
  for offset, least, most in ((0.1, 0.2, 0.99), (2.0, 0.0, 0.0)):
    validation, states = observe(lambda system, offset=offset: OffsetOfTheNew(system, offset))
    skill, _ = skill_of_offset(states, offset)
    found = values(validation)
    np.testing.assert_allclose(found['training_skill'], 1, atol=1e-5)
    np.testing.assert_allclose(found['validation_skill'], skill, atol=1e-4)
    np.testing.assert_allclose(found['model_trust'], skill**6, atol=1e-4)
    assert least <= found['model_trust'] <= most


@pytest.mark.parametrize('count', [1, 2])
def test_nothing_is_trusted_before_two_episodes_have_differed(count):
  assert values(observe(TrueDynamics, count)[0])['model_trust'] == 0


def test_without_skill_the_policy_waits_unless_it_is_only_measured():
  def far(system):
    return Offset(system, 1e6)

  assert observe(far)[0].update_scale() == 0
  assert observe(far, scale_updates=False)[0].update_scale() == 1


def test_a_new_episode_is_predicted_before_anything_learns_from_it():
  system = InvasivePlant(H)
  env = SystemEnvironment(system, 1)
  setup = AgentSetup(system, env.time_step_spec(), env.action_spec(), 2, 0, Execution())
  agent = make_asm_agent(setup, functools.partial(LSTM, embedding_size=8, hidden_sizes=(8,)))
  order, validation, learner = [], agent.model_validation, agent.model_learner
  validation.observe = lambda episodes: order.append(validation)
  learner.observe = lambda episodes: order.append(learner)
  agent.observe(episodes_of(system, np.random.default_rng(0)))
  assert order == [validation, learner]


def test_the_policy_waits_while_the_model_is_not_trusted():
  system = InvasivePlant(H)
  env = SystemEnvironment(system, 1)
  setup = AgentSetup(system, env.time_step_spec(), env.action_spec(), 2, 0, Execution())
  agent = make_asm_agent(
      setup, functools.partial(LSTM, embedding_size=8, hidden_sizes=(8,)),
      agent=functools.partial(AsmAgent, policy_period=2))
  actor, generator = agent.policy_learner.actor, np.random.default_rng(0)
  for _ in range(3):
    agent.observe(episodes_of(system, generator))
  experience = episodes_of(system, generator, 8)
  before = [variable.numpy() for variable in actor.trainable_variables]
  agent.model_validation.trust.assign(0.0)
  agent.train(experience)
  for variable, value in zip(actor.trainable_variables, before, strict=True):
    np.testing.assert_array_equal(variable, value)
  agent.model_validation.trust.assign(0.25)
  agent.train(experience)
  np.testing.assert_allclose(agent.policy_learner._optimizer.learning_rate, 0.25e-3)
  assert any(np.any(variable != value) for variable, value in zip(
      actor.trainable_variables, before, strict=True))
