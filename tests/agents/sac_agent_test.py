"""SAC is TF-Agents' own: what we add to it, and that nothing else is changed."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.agents.ddpg.critic_network import CriticNetwork
from tf_agents.agents.sac import sac_agent
from tf_agents.networks.actor_distribution_network import ActorDistributionNetwork

from asm_tf.agents import sac_agent as sac_agent_module
from asm_tf.agents import sac_networks
from asm_tf.agents.reward_units import RewardUnits
from asm_tf.agents.sac_agent import EntropyConstant, SoftActorCritic, make_sac_agent
from asm_tf.agents.sac_networks import SacNetworks
from asm_tf.errors import UserError
from asm_tf.models.normalizer import Normalizer
from asm_tf.systems.myriad.bioreactor import Bioreactor
from asm_tf.training.trainer import Trainer

H, SIZES = 5, (8, 8)


def trainer(seed=0, model_period=1, entropy_constant=EntropyConstant, **settings):
  tf.keras.utils.set_random_seed(seed)
  make_agent = functools.partial(
      make_sac_agent, networks=functools.partial(
          SacNetworks, critic_hidden_sizes=SIZES, actor_hidden_sizes=SIZES),
      entropy_constant=entropy_constant, agent=functools.partial(SoftActorCritic, **settings))
  return Trainer(Bioreactor(H), make_agent, seed, warmup_steps=20, model_period=model_period,
                 batch_size=16)


def experience(trained):
  while trained.env_steps < 20:
    trained.warm_up()
    trained._take(trained.last_episode())
  return trained.replay.get_next(16)[0]


def theirs(trained, normalizer, generator):
  """TF-Agents' agent as its users build it, on features that were made beforehand."""
  env, features = trained.env, tf.TensorSpec([normalizer.time_size + 1])
  adam = tf.keras.optimizers.legacy.Adam
  return sac_agent.SacAgent(
      env.time_step_spec()._replace(observation=features), env.action_spec(),
      critic_network=CriticNetwork(
          (features, env.action_spec()), joint_fc_layer_params=SIZES,
          kernel_initializer='glorot_uniform', last_kernel_initializer='glorot_uniform'),
      actor_network=ActorDistributionNetwork(
          features, env.action_spec(), fc_layer_params=SIZES,
          continuous_projection_net=functools.partial(
              sac_networks.GeneratorProjection, generator=generator)),
      actor_optimizer=adam(3e-4), critic_optimizer=adam(3e-4), alpha_optimizer=adam(3e-4),
      target_update_tau=0.005, td_errors_loss_fn=tf.math.squared_difference, gamma=0.99)


def networks(agent):
  return [agent._actor_network, agent._critic_network_1, agent._critic_network_2,
          agent._target_critic_network_1, agent._target_critic_network_2]


def weights(network):
  return list(network.trainable_variables)


def test_an_update_is_tf_agents_own():
  trained = trainer()
  batch = experience(trained)
  ours = trained.agent
  normalizer = ours._normalizer
  generator = ours._actor_network._projection_networks._generator
  reference = theirs(trained, normalizer, generator)
  for mine, other in zip(networks(ours), networks(reference), strict=True):
    for variable, value in zip(weights(other), weights(mine), strict=True):
      variable.assign(value)
  featured = batch._replace(
      observation=normalizer.join(
          normalizer.normalize(batch.observation[..., :-1]), t=batch.observation[..., -1]),
      reward=ours._rewards.normalize(batch.reward))
  infos = []
  for agent, data in ((ours, batch), (reference, featured)):
    generator.reset_from_seed(3)  # both draw the same actions
    infos.append(agent.train(data))
  np.testing.assert_allclose(infos[0].loss, infos[1].loss, rtol=1e-5)
  for mine, other in zip(networks(ours), networks(reference), strict=True):
    for variable, value in zip(weights(other), weights(mine), strict=True):
      np.testing.assert_allclose(value, variable, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(ours._log_alpha, reference._log_alpha, rtol=1e-5)


def test_policy_and_entropy_constant_are_updated_when_due():
  trained = trainer(model_period=2, policy_period=6)
  batch, agent = experience(trained), trained.agent
  train = tf.function(agent.train)
  for k in range(1, 8):
    before = [part.numpy() for part in weights(agent._actor_network)] + [agent._log_alpha.numpy()]
    critic = weights(agent._critic_network_1)[0].numpy()
    train(batch)
    after = [part.numpy() for part in weights(agent._actor_network)] + [agent._log_alpha.numpy()]
    moved = [np.any(x != y) for x, y in zip(before, after, strict=True)]
    assert all(moved) if k % 3 == 0 else not any(moved)
    assert np.any(critic != weights(agent._critic_network_1)[0])


@pytest.mark.parametrize(('of_episode', 'of_step'), [(False, 0.01), (True, 0.01 / H)])
def test_a_fixed_entropy_constant_stays(of_episode, of_step):
  trained = trainer(entropy_constant=functools.partial(
      EntropyConstant, initial=0.01, of_episode=of_episode, learned=False))
  for _ in range(3):
    trained.agent.train(experience(trained))
  np.testing.assert_allclose(trained.metrics()['entropy_constant'], of_step, rtol=1e-5)


@pytest.mark.parametrize(('normalize', 'centered'), [(True, True), (True, False), (False, True)])
def test_the_critic_is_given_rewards_in_units_and_a_discount(normalize, centered, monkeypatch):
  monkeypatch.setattr(
      sac_networks, 'Normalizer', functools.partial(Normalizer, enabled=normalize))
  monkeypatch.setattr(
      sac_agent_module, 'RewardUnits', functools.partial(RewardUnits, centered=centered))
  trained = trainer(discount=0.9)
  batch, seen = experience(trained), {}
  agent = trained.agent
  rewards = np.reshape(trained.replay.gather_all().reward, [4, H + 1])[:, :H]
  inner = agent.critic_loss

  def spy(time_steps, actions, next_time_steps, **named):
    seen.update(named, reward=next_time_steps.reward)
    return inner(time_steps, actions, next_time_steps, **named)

  agent.critic_loss = spy
  agent.train(batch)
  expected = batch.reward[:, 0]
  if normalize:
    expected = (expected - centered * rewards.mean()) / rewards.sum(1).std()
  np.testing.assert_allclose(seen['reward'], expected, rtol=1e-2, atol=1e-4)
  assert seen['gamma'] == 0.9


def test_samples_are_transitions_of_one_episode_or_its_end():
  trained = trainer()
  while trained.env_steps < 40:
    trained.iterate()
  pairs = trained.replay.get_next(500)[0]
  t = pairs.observation[..., -1].numpy()
  last = t[:, 0] == H - 1
  assert pairs.reward.shape == (500, 2)
  np.testing.assert_array_equal(pairs.is_boundary(), np.stack([np.zeros_like(last), last], 1))
  np.testing.assert_array_equal(pairs.discount[:, 0], np.where(last, 0, 1))
  np.testing.assert_array_equal(t[:, 1], t[:, 0] + 1)
  assert set(t[:, 0]) == set(range(H))


def test_the_evaluated_policy_is_greedy():
  trained = trainer()
  time_step = trained.env.reset()
  actions = [trained.agent.policy.action(time_step).action.numpy() for _ in range(3)]
  assert actions[0] == actions[1] == actions[2]
  explored = {trained.agent.collect_policy.action(time_step).action.numpy().item()
              for _ in range(3)}
  assert len(explored) == 3


def test_a_policy_period_that_the_critic_cannot_keep_is_refused():
  with pytest.raises(UserError, match='policy_period is 3: give a multiple of .* 2'):
    trainer(model_period=2, policy_period=3)


def test_a_loss_that_is_not_finite_stops_the_run_in_one_line():
  diverging = trainer(critic_learning_rate=1e18)
  with pytest.raises(UserError, match='of SoftActorCritic is not finite: lower SoftActorCritic'):
    while diverging.updates < 20:
      diverging.iterate()
