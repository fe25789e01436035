"""Fitting to a fixed data set: what it is given is what it learns from."""

import functools

import numpy as np
import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.systems.myriad.invasive_plant import InvasivePlant
from asm_tf.systems.rollout import simulate
from asm_tf.training import offline
from asm_tf.training.offline import DataSet, FitSettings, collect, fit

H, EPISODES = 4, 8


class Constant(SequenceModel):
  """s_t = w s_0: with unit vectors as states, a weight for each episode."""

  def __init__(self, size):
    super().__init__()
    self.weight = self.add_weight(name='weight', shape=[size], initializer='zeros')

  def call(self, initial_state, actions, training=False):
    return tf.repeat((self.weight * initial_state)[:, None], actions.shape[1], 1)


def test_every_episode_is_learned_from_in_units_of_their_spread():
  states = tf.repeat(3 * tf.eye(EPISODES)[:, None], H + 1, 1)
  model, normalizer = Constant(EPISODES), Normalizer(EPISODES, H)
  fit(model, normalizer, states, tf.zeros([EPISODES, H, 1]),
      FitSettings(num_updates=20, batch_size=16, learning_rate=0.01))
  assert np.all(model.weight.numpy() > 0)
  rows = states.numpy().reshape(-1, EPISODES)
  np.testing.assert_allclose(
      normalizer.normalize(rows), (rows - rows.mean(0)) / rows.std(0), rtol=1e-4)


def test_a_fit_ends_where_bars_are_turned_off(monkeypatch):
  """TQDM_DISABLE=1 in the environment does that."""
  monkeypatch.setattr(offline, 'tqdm', functools.partial(offline.tqdm, disable=True))
  states = tf.repeat(tf.eye(EPISODES)[:, None], H + 1, 1)
  rows = fit(Constant(EPISODES), Normalizer(EPISODES, H), states, tf.zeros([EPISODES, H, 1]),
             FitSettings(num_updates=20, batch_size=16, measure_interval=10))
  assert [row['updates'] for row in rows] == [0, 10, 20]


def test_a_data_set_is_what_its_actions_lead_to():
  system = InvasivePlant(H)
  states, actions = collect(system, DataSet(num_transitions=3 * H), seed=0)
  assert len(np.unique(actions)) == actions.shape.num_elements()
  np.testing.assert_allclose(states, simulate(system, actions)[0], rtol=1e-6)
