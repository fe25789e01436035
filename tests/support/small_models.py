"""Every world model in small, with random weights (float64).

MODELS is the one registry of the tests that hold for every architecture: of the
contract (sequence_model_contract_test.py), of the theory and of the gradient tools.
A new model is a function of (normalizer, n, m, width, layers) and its name in MODELS.
"""

import types

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.models.history import HistoryModel
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.rnn import RNN
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor

B, H, N, M = 2, 5, 2, 2
F64 = {'dtype': 'float64'}


def rnn(normalizer, n, m, width, layers):
  return RNN(normalizer, n, m, width, layers * (width,), **F64)


def lstm(normalizer, n, m, width, layers):
  return LSTM(normalizer, n, m, width, layers * (width,), **F64)


def self_attention(normalizer, n, m, width, layers):
  del layers  # it has one
  return SelfAttention(normalizer, n, m, width, **F64)


def transformer(normalizer, n, m, width, layers):
  return Transformer(normalizer, n, m, 3 * width, layers, 3, 2 * width, **F64)


def gated_transformer(normalizer, n, m, width, layers):
  return Transformer(
      normalizer, n, m, 3 * width, layers, 3, 2 * width, gated_read_out=True, **F64)


def state_space(normalizer, n, m, width, layers):
  return StateSpace(normalizer, n, m, width, layers, width, **F64)


def markov(normalizer, n, m, width, layers):
  width *= 2  # of a few ReLUs all may be off
  return Markov(normalizer, n, m, layers * (width,), **F64)


def history(core):
  """The history model of the action-sequence model that `core` makes."""
  return lambda normalizer, n, m, *sizes: HistoryModel(
      normalizer, n, m, lambda *pair_sizes, dtype: core(*pair_sizes, *sizes), **F64)


MODELS = {'RNN': rnn, 'LSTM': lstm, 'SelfAttention': self_attention, 'Transformer': transformer,
          'GatedTransformer': gated_transformer,
          'StateSpace': state_space, 'Markov': markov, 'HistoryLSTM': history(lstm),
          'HistoryTransformer': history(transformer)}
every_model = pytest.mark.parametrize('make', MODELS.values(), ids=list(MODELS))


class Linear(SequenceModel):
  """s_{t+1} = A s_t + B a_t."""

  def __init__(self, by_state, by_action, dtype='float64'):
    super().__init__(dtype=dtype)
    self._by_state, self._by_action = (tf.constant(x, dtype) for x in (by_state, by_action))

  def start(self, initial_state, horizon):
    return initial_state

  def step(self, carry, action, t):
    state = tf.linalg.matvec(self._by_state, carry) + tf.linalg.matvec(self._by_action, action)
    return state, state


class LinearActor(tf.Module):
  """mu = theta s, sigma = 1."""

  def __init__(self, theta):
    super().__init__()
    self.theta = tf.Variable(theta, dtype=tf.float64)

  def __call__(self, state, t):
    return self.theta * state, tf.zeros_like(state)


def reward(states, actions, t):
  """Depends on every state, action and step; any leading shape."""
  time = tf.cast(t, tf.float64)
  return (tf.sin(tf.reduce_sum(states, -1) + time)
          - 0.1 * (1 + time) * tf.reduce_sum(actions**2, -1))


def flat(tensors):
  return np.concatenate([np.ravel(x) for x in tensors])


def randomise(module, generator, scale=0.3):
  for variable in module.trainable_variables:
    variable.assign_add(scale * generator.normal(size=variable.shape))


def build(make, seed=0, states=None, state_size=N, action_size=M):
  """A model and a policy with random weights that share a normaliser, and a generator."""
  tf.keras.utils.set_random_seed(seed)
  generator = np.random.default_rng(seed)
  normalizer = Normalizer(state_size, H, dtype=tf.float64)
  normalizer.update(tf.constant(
      generator.normal(1, 2, (20, state_size)) if states is None else states))
  actor = SquashedGaussianActor(normalizer, state_size, action_size, hidden_sizes=(4,), **F64)
  model = make(normalizer, state_size, action_size, 3, 1)  # small: Theorem 1 runs it often
  randomise(actor, generator)
  randomise(model, generator)
  return model, actor, generator


def inputs(generator, batch=B, steps=H):
  """s_0 [B, n], actions [B, T, m] and noise [B, T, m]."""
  return (tf.constant(generator.normal(size=(batch, N))),
          tf.constant(generator.uniform(-1, 1, (batch, steps, M))),
          tf.constant(generator.normal(size=(batch, steps, M))))


def spectral_norm(matrix):
  return np.linalg.norm(matrix, 2, (-2, -1))


def agent_with(model, reward):
  """As much of an agent as the export of its world model needs."""
  return types.SimpleNamespace(train_sequence_length=H + 1, world=types.SimpleNamespace(
      reward=reward, critic=None, model_from=lambda first_step: model))
