"""Fitting to a fixed data set: what it is given is what it learns from."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.errors import UserError
from asm_tf.models.loss import LOSS_WEIGHTINGS, prediction_loss
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


def test_the_seed_fixes_data_and_batches():
  states = tf.repeat(3 * tf.eye(EPISODES)[:, None], H + 1, 1)

  def drawn(seed):
    model = Constant(EPISODES)
    fit(model, Normalizer(EPISODES, H), states, tf.zeros([EPISODES, H, 1]),
        FitSettings(num_updates=5, batch_size=2, seed=seed))
    return collect(InvasivePlant(H), DataSet(H), seed)[1].numpy(), model.weight.numpy()

  for values, same, other in zip(drawn(0), drawn(0), drawn(1), strict=True):
    np.testing.assert_array_equal(values, same)
    assert np.any(values != other)


@pytest.mark.parametrize('noise_std', [0.0, 0.1])
def test_the_actions_of_a_policy_are_perturbed(noise_std):
  def actor(state, t):
    return 0.3 + 0.1 * tf.cast(t, tf.float32) + 0 * state, None

  _, actions = collect(InvasivePlant(H), DataSet(500 * H, actor, noise_std), seed=0)
  noise = actions - np.tanh(0.3 + 0.1 * np.arange(H))[:, None]
  np.testing.assert_allclose(np.std(noise), noise_std, rtol=0.05, atol=1e-6)
  np.testing.assert_allclose(np.mean(noise), 0, atol=0.05 * noise_std + 1e-6)


def test_the_loss_of_a_fit_is_weighted_as_it_is_asked_to_be():
  generator = np.random.default_rng(0)
  states = tf.constant(generator.normal(size=[EPISODES, H + 1, 2]), tf.float32)
  actions, normalizer = tf.zeros([EPISODES, H, 1]), Normalizer(2, H)
  normalizer.update(states)
  found = {}
  for weighting in LOSS_WEIGHTINGS:
    model = Constant(2)
    fitting = offline._Fit(model, normalizer, states, actions,
                           FitSettings(num_updates=1, loss_weighting=weighting))
    found[weighting] = float(fitting._loss_and_gradient(states, actions)[0])
    expected = prediction_loss(model, normalizer, states, actions, loss_weighting=weighting)
    np.testing.assert_allclose(found[weighting], expected, rtol=1e-5)
  assert found['uniform'] != found['inverse_time']


@pytest.mark.parametrize('setting', [
    {'loss_weighting': 'inverse-time'}, {'measure_interval': 0}, {'learning_rate': 0.0}])
def test_settings_that_mean_nothing_are_refused(setting):
  name, = setting
  with pytest.raises(UserError, match=f'FitSettings.{name} is'):
    FitSettings(**{'num_updates': 1, **setting})
