"""Small agents on one device and on the replicas of a strategy; distribution_test.py runs it.

    PYTHONPATH=. python tests/replicas_against_one_device.py mirrored|multi_worker AGENT ..

trains the named agents both ways and prints {agent: largest difference of their weights}.

    PYTHONPATH=. python tests/replicas_against_one_device.py multi_worker --stop FOLDER

stops a run in FOLDER by a signal to one worker, goes on with it, and prints its steps.
"""

import functools
import json
import os
import signal
import sys
from unittest import mock

import numpy as np

from asm_tf.agents.decision_transformer_agent import make_decision_transformer_agent
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.sac_agent import make_sac_agent
from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.models.lstm import LSTM
from asm_tf.models.reward_model import RewardModel
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.replay.transition_replay_buffer import TransitionReplayBuffer
from asm_tf.systems.myriad.bioreactor import Bioreactor
from asm_tf.training.strategies import make_strategy
from asm_tf.training.train import Stopped, train
from asm_tf.training.trainer import Trainer
from asm_tf.training.workers import Workers

import tensorflow as tf  # after asm_tf, which chooses Keras 2
from tf_agents.distributions.utils import SquashToSpecNormal

UPDATES = 18  # of the model; two of them bring a policy update
ASM = functools.partial(
    make_asm_agent, world_model=functools.partial(LSTM, embedding_size=4, hidden_sizes=(4,)),
    actor=functools.partial(SquashedGaussianActor, hidden_sizes=(8,)), policy_batch_size=8,
    reward_model=functools.partial(RewardModel, hidden_sizes=(4,)))
AGENTS = {
    'ASM': (functools.partial(ASM, jit_compile=False), {}),
    'ASM under XLA': (ASM, {}),
    'SAC': (functools.partial(make_sac_agent, critic_hidden_sizes=(8,), actor_hidden_sizes=(8,),
                              policy_period=4), dict(make_replay=TransitionReplayBuffer)),
    'decision transformer': (
        functools.partial(make_decision_transformer_agent, jit_compile=False,
                          model=functools.partial(
                              DecisionTransformer, context_size=4, embedding_size=4, num_layers=1,
                              num_heads=1, hidden_size=4, dropout=0.0)), {}),
}


def trained_weights(make_agent, arguments, strategy):
  tf.keras.utils.set_random_seed(0)
  trainer = Trainer(Bioreactor(20), make_agent, 0, warmup_steps=40, batch_size=16,
                    strategy=strategy, **arguments)
  while trainer.env_steps < 40:
    trainer.iterate()
  tf.random.set_seed(1)  # SAC's replay draws from it
  agent, update = trainer.agent, tf.function(trainer.agent.train, autograph=False)
  modules = [getattr(agent, name) for name in (
      'world_model', 'actor', 'model', '_reward', '_critic_network_1', '_target_critic_network_2',
      '_actor_network') if isinstance(getattr(agent, name, None), tf.Module)]

  def weights():
    return np.concatenate([variable.numpy().ravel() for module in modules
                           for variable in module.trainable_variables])

  before = weights()
  for _ in range(UPDATES):
    update(trainer.replay.get_next(16)[0])
  assert np.mean(weights() != before) > 0.9  # some ReLUs may be off
  return weights()


def without_noise():
  """SAC draws for every replica apart: here all draw the mode."""
  return mock.patch.object(SquashToSpecNormal, 'sample', lambda self, *_, **__: self.mode())


def largest_difference(name, strategy):
  with without_noise():
    one, several = (trained_weights(*AGENTS[name], s) for s in (None, strategy))
  return float(np.max(np.abs(one - several)))


def stop_and_go_on(root_dir, strategy):
  """A run that worker 1 alone is told to stop after an iteration, then the same run resumed."""
  settings = dict(
      root_dir=root_dir, resume=True, system=Bioreactor, horizon=20, num_env_steps=120,
      make_agent=functools.partial(ASM, jit_compile=False), strategy=strategy,
      make_trainer=functools.partial(Trainer, warmup_steps=40, batch_size=16))
  iterate = Trainer.iterate

  def iterate_and_stop(self):
    iterate(self)
    if self.updates and Workers(strategy).index == 1:
      os.kill(os.getpid(), signal.SIGTERM)

  with mock.patch.object(Trainer, 'iterate', iterate_and_stop):
    try:
      train(**settings)
    except Stopped as stopped:
      assert stopped.exit_code == 128 + signal.SIGTERM
    else:
      raise AssertionError('the run was not stopped')
  return train(**settings)['env_steps']


if __name__ == '__main__':
  kind, *names = sys.argv[1:]
  chosen = make_strategy(kind, replicas=2 if kind == 'mirrored' else None)
  if names[0] == '--stop':
    print(stop_and_go_on(names[1], chosen))
  else:
    print(json.dumps({name: largest_difference(name, chosen) for name in names}))
