"""Batches in parts: the same means, from several programs."""

import functools

import numpy as np
import pytest

from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents import programs
from asm_tf.agents.programs import compiled, in_parts, mean_of
from asm_tf.models.lstm import LSTM
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training.trainer import Trainer

import tensorflow as tf  # after asm_tf, which chooses Keras 2


def mean_and_moment(x, y):
  return tf.reduce_mean(x * y), [tf.reduce_mean(x, 0)]


@pytest.mark.parametrize('size, parts, rows_at_once, sizes', [
    (64, 4, None, [16] * 4),
    (64, 100, None, [8] * 8),  # no part is smaller than eight
    (24, 2, None, [12] * 2),
    (27, 2, None, [27]),  # two do not divide it
    (27, 3, None, [9] * 3),
    (7, 4, None, [7]),
    (16, 1, None, [16]),
    (64, 2, 20, [16] * 4),
    (64, 1, 1, [8] * 8),
    (64, 4, 40, [16] * 4),
])
def test_parts_have_the_value_of_the_whole(size, parts, rows_at_once, sizes):
  x, y = tf.random.stateless_normal([2, size, 3], [0, 0], dtype=tf.float64)
  seen = []

  def function(x, y):
    seen.append(x.shape[0])
    return mean_and_moment(x, y)

  mean = mean_of(in_parts(function, parts, rows_at_once)(x, y))
  for value, whole in zip(tf.nest.flatten(mean), tf.nest.flatten(mean_and_moment(x, y))):
    np.testing.assert_allclose(value, whole, rtol=1e-12)
  assert seen == sizes


def test_an_accelerator_is_given_whole_batches(monkeypatch):
  monkeypatch.setattr(programs, 'has_accelerator', lambda: True)
  seen = []
  in_parts(lambda x: seen.append(x.shape[0]) or tf.reduce_mean(x), 1, 8)(tf.ones([64, 2]))
  assert seen == [64]


def trainer(**arguments):
  tf.keras.utils.set_random_seed(0)
  make_agent = functools.partial(
      make_asm_agent, world_model=functools.partial(LSTM, embedding_size=4, hidden_sizes=(4,)),
      actor=functools.partial(SquashedGaussianActor, hidden_sizes=(8,)), **arguments)
  return Trainer(CancerTreatment(6), make_agent, 0, warmup_steps=12, batch_size=16)


def test_an_agent_learns_the_same_in_parts():
  agents = []
  for parts in (1, 2):
    trained = trainer(jit_compile=False, parts=parts)
    while trained.updates < 30:  # policy updates among them
      trained.iterate()
    agents.append(trained.agent)
  for one, two in zip(*(agent.actor.variables + agent.world_model.variables for agent in agents)):
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


def test_nothing_is_traced_twice():
  trained = trainer(jit_compile=True, parts=2)
  traces = []
  trained.agent.update_model = counted(trained.agent.update_model, traces, 'model')
  trained.agent.update_policy = counted(trained.agent.update_policy, traces, 'policy')
  while trained.updates < 60:
    trained.iterate()
  assert sorted(traces) == ['model', 'policy']


def counted(function, traces, name):
  """The function, which notes when it is traced."""
  def call(*arguments):
    traces.append(name)
    return function(*arguments)
  return call


def test_compiling_changes_no_value():
  x, y = tf.random.stateless_normal([2, 8, 3], [0, 0])
  for jit_compile in (True, False):
    value, _ = compiled(mean_and_moment, jit_compile)(x, y)
    np.testing.assert_allclose(value, np.mean(x * y), rtol=1e-6)
