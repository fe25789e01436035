"""Updates in microbatches: the same means, from several programs."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.agents.execution import Execution, mean_of
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.models.lstm import LSTM
from asm_tf.models.unrolling import made_for
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training.trainer import Trainer


def mean_and_moment(x, y):
  return tf.reduce_mean(x * y), [tf.reduce_mean(x, 0)]


@pytest.mark.parametrize(('size', 'microbatches', 'microbatch_size', 'sizes'), [
    (64, 4, None, [16] * 4),
    (64, 100, None, [8] * 8),  # no microbatch is smaller than eight
    (24, 2, None, [12] * 2),
    (27, 2, None, [27]),  # two do not divide it
    (27, 3, None, [9] * 3),
    (7, 4, None, [7]),
    (16, 1, None, [16]),
    (64, 2, 20, [16] * 4),
    (64, 1, 1, [8] * 8),
    (64, 4, 40, [16] * 4),
])
def test_microbatches_have_the_value_of_the_whole(size, microbatches, microbatch_size, sizes):
  x, y = tf.random.stateless_normal([2, size, 3], [0, 0], dtype=tf.float64)
  seen = []

  def function(x, y):
    seen.append(x.shape[0])
    return mean_and_moment(x, y)

  program = Execution(jit_compile=False, microbatches=microbatches).gradient_program(
      function, microbatch_size)
  mean, wanted = mean_of(program(x, y)), mean_and_moment(x, y)
  for value, whole in zip(tf.nest.flatten(mean), tf.nest.flatten(wanted), strict=True):
    np.testing.assert_allclose(value, whole, rtol=1e-12)
  assert seen == sizes


def test_an_accelerator_is_given_whole_batches():
  seen = []
  with made_for(accelerator=True):
    program = Execution(jit_compile=False).gradient_program(
        lambda x: seen.append(x.shape[0]) or tf.reduce_mean(x), 8)
    program(tf.ones([64, 2]))
  assert seen == [64]


def trainer(**settings):
  tf.keras.utils.set_random_seed(0)
  make_agent = functools.partial(
      make_asm_agent, world_model=functools.partial(LSTM, embedding_size=4, hidden_sizes=(4,)),
      actor=functools.partial(SquashedGaussianActor, hidden_sizes=(8,)))
  return Trainer(CancerTreatment(6), make_agent, 0, Execution(**settings), warmup_steps=12,
                 batch_size=16)


def test_an_agent_learns_the_same_in_microbatches():
  agents = []
  for microbatches in (1, 2):
    trained = trainer(jit_compile=False, microbatches=microbatches)
    while trained.updates < 30:  # policy updates among them
      trained.iterate()
    agents.append(trained.agent)
  weights = (agent.policy_learner.actor.variables + agent.world.model.variables
             for agent in agents)
  for one, two in zip(*weights, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


def test_nothing_is_traced_twice():
  trained = trainer(jit_compile=True, microbatches=2)
  traces = []
  for name in ('model_learner', 'policy_learner'):
    learner = getattr(trained.agent, name)
    learner.update = counted(learner.update, traces, name)
  while trained.updates < 60:
    trained.iterate()
  assert sorted(traces) == ['model_learner', 'policy_learner']


def counted(function, traces, name):
  """The function, which notes when it is traced."""
  def call(*arguments):
    traces.append(name)
    return function(*arguments)
  return call


def test_compiling_changes_no_value():
  x, y = tf.random.stateless_normal([2, 8, 3], [0, 0])
  for jit_compile in (True, False):
    value, _ = Execution(jit_compile=jit_compile).update_program(mean_and_moment)(x, y)
    np.testing.assert_allclose(value, np.mean(x * y), rtol=1e-6)
