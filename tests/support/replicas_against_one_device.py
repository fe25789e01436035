"""Small agents on one device and on the replicas of a strategy; distribution_test.py runs it.

    PYTHONPATH=. python tests/support/replicas_against_one_device.py mirrored|multi_worker AGENT ..

trains the named agents both ways and prints {agent: largest difference of their weights}.

    PYTHONPATH=. python tests/support/replicas_against_one_device.py multi_worker --stop FOLDER

stops a run in FOLDER by a signal to one worker, goes on with it, and prints its steps.
"""

import functools
import json
import os
import signal
import sys
from unittest import mock

import asm_tf  # noqa: F401, before TensorFlow chooses Keras 3

# isort: split
import numpy as np
import tensorflow as tf
from tf_agents.distributions.utils import SquashToSpecNormal

from asm_tf.agents.critic import Critic
from asm_tf.agents.decision_transformer_agent import make_decision_transformer_agent
from asm_tf.agents.execution import Execution
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.policy_learner import PolicyLearner
from asm_tf.agents.sac_agent import SoftActorCritic, make_sac_agent
from asm_tf.agents.sac_networks import SacNetworks
from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.models.lstm import LSTM
from asm_tf.models.reward_model import RewardModel
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.systems.myriad.bioreactor import Bioreactor
from asm_tf.training.stop_signal import Stopped
from asm_tf.training.strategies import make_strategy
from asm_tf.training.train import RunOptions, train
from asm_tf.training.trainer import Trainer
from asm_tf.training.training_loop import TrainingLoop
from asm_tf.training.workers import Workers

UPDATES = 18  # of the model; two of them bring a policy update
ASM = functools.partial(
    make_asm_agent, world_model=functools.partial(LSTM, embedding_size=4, hidden_sizes=(4,)),
    actor=functools.partial(SquashedGaussianActor, hidden_sizes=(8,)),
    policy_learner=functools.partial(PolicyLearner, batch_size=8),
    reward_model=functools.partial(RewardModel, hidden_sizes=(4,)))
# name: (builder, whether XLA compiles its updates, more arguments of the trainer)
AGENTS = {
    'ASM': (ASM, False, {}),
    'ASM under XLA': (ASM, True, {}),
    'ASM with a critic': (functools.partial(
        ASM, critic=functools.partial(Critic, hidden_sizes=(8,))), True, {}),
    'SAC': (functools.partial(
        make_sac_agent, agent=functools.partial(SoftActorCritic, policy_period=4),
        networks=functools.partial(
            SacNetworks, critic_hidden_sizes=(8,), actor_hidden_sizes=(8,))), False, {}),
    'decision transformer': (functools.partial(
        make_decision_transformer_agent, model=functools.partial(
            DecisionTransformer, context_size=4, embedding_size=4, num_layers=1, num_heads=1,
            hidden_size=4, dropout=0.0)), False, {}),
}


def trained_weights(make_agent, jit_compile, arguments, strategy):
  tf.keras.utils.set_random_seed(0)
  trainer = Trainer(Bioreactor(20), make_agent, 0, Execution(strategy, jit_compile),
                    warmup_steps=40, batch_size=16, **arguments)
  while trainer.env_steps < 40:
    trainer.iterate()
  trainer.collect()  # as a run does, with the weights that the replicas share
  if hasattr(trainer.agent, 'model_validation'):
    # Two random episodes teach no model.
    (trainer.agent.world.critic or trainer.agent.model_validation).trust.assign(1.0)
  agent, update = trainer.agent, tf.function(trainer.agent.train, autograph=False)
  learned = [agent.world, agent.policy_learner.actor] if hasattr(agent, 'world') else []
  modules = learned + [getattr(agent, name) for name in (
      'model', '_critic_network_1', '_target_critic_network_2', '_actor_network')
                       if isinstance(getattr(agent, name, None), tf.Module)]

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
  options = RunOptions(root_dir, resume=True, strategy=strategy)
  settings = {
      'system': Bioreactor, 'horizon': 20, 'make_agent': ASM,
      'make_trainer': functools.partial(Trainer, warmup_steps=40, batch_size=16),
      'make_loop': functools.partial(TrainingLoop, num_env_steps=120),
      'make_execution': functools.partial(Execution, jit_compile=False)}
  iterate = Trainer.iterate

  def iterate_and_stop(self):
    iterate(self)
    if self.updates and Workers(strategy).index == 1:
      os.kill(os.getpid(), signal.SIGTERM)

  with mock.patch.object(Trainer, 'iterate', iterate_and_stop):
    exit_code = None
    try:
      train(options, **settings)
    except Stopped as stopped:
      exit_code = stopped.exit_code
    assert exit_code == 128 + signal.SIGTERM, 'the run was not stopped'
  return train(options, **settings)['env_steps']


if __name__ == '__main__':
  kind, *names = sys.argv[1:]
  chosen = make_strategy(kind, replicas=2 if kind == 'mirrored' else None)
  if names[0] == '--stop':
    print(stop_and_go_on(names[1], chosen))
  else:
    print(json.dumps({name: largest_difference(name, chosen) for name in names}))
