"""Episodes as one compiled program, and agents of others."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.agents.ddpg.actor_network import ActorNetwork
from tf_agents.agents.ddpg.critic_network import CriticNetwork
from tf_agents.agents.reinforce import reinforce_agent
from tf_agents.agents.td3 import td3_agent
from tf_agents.networks.actor_distribution_network import ActorDistributionNetwork

from asm_tf.agents.execution import Execution
from asm_tf.agents.sequence_search_agent import make_sequence_search_agent
from asm_tf.errors import UserError
from asm_tf.systems.myriad.bioreactor import Bioreactor
from asm_tf.systems.rollout import simulate
from asm_tf.training import trainer as trainer_module
from asm_tf.training.saved_models import save_world_model
from asm_tf.training.trainer import Trainer
from tests.support.replicas_against_one_device import AGENTS

H = 20
every_agent = pytest.mark.parametrize('make_agent', [
    AGENTS['ASM'][0], AGENTS['SAC'][0], AGENTS['decision transformer'][0],
    make_sequence_search_agent])


def build(make_agent, jit_compile=True):
  tf.keras.utils.set_random_seed(0)
  return Trainer(Bioreactor(H), make_agent, 0, Execution(jit_compile=jit_compile))


@every_agent
def test_a_compiled_episode_is_what_its_actions_lead_to(make_agent):
  trainer, actions = build(make_agent), []
  for play in (trainer.warm_up, trainer.collect, trainer.collect):
    play()
    episode = trainer.last_episode()
    assert np.all(episode.is_first()[0] == (np.arange(H + 1) == 0))
    assert np.all(episode.is_boundary()[0] == (np.arange(H + 1) == H))
    states, rewards = simulate(trainer.system, episode.action[:, :-1])
    np.testing.assert_allclose(episode.observation[..., :-1], states, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(episode.observation[0, :, -1], np.arange(H + 1))
    np.testing.assert_allclose(episode.reward[:, :-1], rewards, rtol=1e-5, atol=1e-6)
    actions.append(episode.action)
  assert np.any(actions[1] != actions[2])  # every episode draws anew


@pytest.mark.parametrize('jit_compile', [False, True])
def test_the_warm_up_is_uniform_compiled_or_not(jit_compile):
  trainer, actions = build(make_sequence_search_agent, jit_compile), []
  warm_up = tf.function(trainer.warm_up, autograph=False)
  for _ in range(2000):
    warm_up()
    actions.append(trainer.last_episode().action[0, :-1, 0])
  quartiles = np.quantile(actions, [0.25, 0.5, 0.75], 0)  # of each step
  error = 1 / np.sqrt(len(actions))
  np.testing.assert_allclose(quartiles, np.tile([[-0.5], [0], [0.5]], H), atol=4.5 * error)


def draws(seed):
  """What a trainer draws: its warm-up, the environment's noise, a batch, a policy's episode."""
  trainer = Trainer(Bioreactor(H, process_noise=0.1), make_sequence_search_agent, seed,
                    warmup_steps=10 * H)
  for _ in range(10):
    trainer.iterate()
  warm_up = trainer.replay.gather_all().action.numpy()  # [10, H+1, 1]
  batch = trainer.replay.get_next(20)[0].action.numpy()
  rows = [int(np.argmin(np.abs(warm_up - actions).sum((1, 2)))) for actions in batch]
  trainer.env.reset()
  noisy = trainer.env.step(tf.zeros([1, 1])).observation.numpy()
  trainer.collect()
  return warm_up, np.array(rows), noisy, trainer.last_episode().action.numpy()


def test_another_seed_draws_everything_anew():
  first, again, other = draws(0), draws(0), draws(1)
  for values, same, different in zip(first, again, other, strict=True):
    np.testing.assert_array_equal(values, same)
    assert np.any(values != different)


def test_updates_come_in_chunks_between_episodes(monkeypatch):
  monkeypatch.setattr(trainer_module, '_CHUNK_STEPS', 6)
  trainer = Trainer(Bioreactor(6), make_sequence_search_agent, 0, warmup_steps=6, model_period=2)
  played = []
  for name in ('warm_up', 'collect'):
    play = getattr(trainer, name)
    monkeypatch.setattr(trainer, name, lambda name=name, play=play: (
        tf.py_function(lambda: played.append(name), [], []), play()))
  seen = []
  for _ in range(7):
    trainer.iterate()
    seen.append((trainer.env_steps, trainer.updates, trainer.is_between_episodes))
  assert seen == [(6, 0, True), (12, 1, False), (12, 2, False), (12, 3, True), (18, 4, False),
                  (18, 5, False), (18, 6, True)]
  assert played == ['warm_up', 'collect', 'collect']


def test_an_agent_of_tf_agents_that_is_nothing_more_trains(tmp_path):
  def make_agent(setup):
    specs = setup.time_step_spec, setup.action_spec
    adam = tf.keras.optimizers.legacy.Adam
    agent = td3_agent.Td3Agent(
        *specs, ActorNetwork(specs[0].observation, specs[1], fc_layer_params=(8,)),
        CriticNetwork((specs[0].observation, specs[1]), joint_fc_layer_params=(8,)),
        actor_optimizer=adam(), critic_optimizer=adam())
    agent.initialize()
    return agent

  trainer = Trainer(Bioreactor(6), make_agent, seed=0, warmup_steps=12, batch_size=2)
  while trainer.env_steps < 24:
    trainer.iterate()
  assert trainer.updates > 0
  assert trainer.metrics() == {}
  save_world_model(trainer.agent, trainer.system, tmp_path / 'world_model')
  assert not (tmp_path / 'world_model').exists()


def test_an_agent_that_does_not_learn_from_a_replay_is_refused_in_one_line():
  def make_agent(setup):
    specs = setup.time_step_spec, setup.action_spec
    return reinforce_agent.ReinforceAgent(
        *specs, ActorDistributionNetwork(specs[0].observation, specs[1], fc_layer_params=(8,)),
        tf.keras.optimizers.legacy.Adam())

  with pytest.raises(UserError, match='ReinforceAgent does not learn from a replay'):
    Trainer(Bioreactor(6), make_agent, seed=0)
