"""The stored optima: reproduced by their actions, beaten by nothing, checked by another route."""

import json

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.environments import scores
from asm_tf.optimal_control import clip_patterns, dynamic_programming, optimum
from asm_tf.optimal_control.objective import make_objective, rolled_out_return
from asm_tf.optimal_control.random_policy import random_return
from asm_tf.systems.myriad.hiv_treatment import HIVTreatment
from asm_tf.systems.registry import MYRIAD, SYSTEMS
from asm_tf.systems.rollout import return_and_gradient, simulate
from launch import solve as solve_command

SCALAR = [system for system in MYRIAD if len(system.start) == 1]
STORED = [(name, int(horizon)) for name, rows in scores.read_table().items() for horizon in rows]
every_myriad = pytest.mark.parametrize('system_class', MYRIAD, ids=lambda c: c.__name__)


@pytest.mark.parametrize('system_class', SCALAR, ids=lambda c: c.__name__)
def test_dynamic_programming_agrees(system_class):
  value, actions = dynamic_programming.solve(system_class(20, dtype=tf.float64), 600, 101)
  stored = scores.reference(system_class.__name__, 20)
  assert actions.shape == (20, 1)
  assert value <= stored.optimal + 1e-9 * abs(stored.optimal)
  assert value == pytest.approx(stored.optimal, rel=1e-3)


def test_the_table_is_complete():
  assert {(system.__name__, horizon) for system in MYRIAD
          for horizon in (20, 50, 100, 200, 500)} <= set(STORED)


@pytest.mark.parametrize(('name', 'horizon'), [
    cell for cell in STORED if cell[0] != 'DoublePendulum'])
def test_stored_actions_reproduce_the_stored_optimum(name, horizon):
  stored = scores.reference(name, horizon)
  assert np.abs(stored.actions).max() <= 1
  value = rolled_out_return(SYSTEMS[name](horizon, dtype=tf.float64), stored.actions)
  assert value == pytest.approx(stored.optimal, rel=1e-9, abs=1e-12)
  assert stored.random < stored.optimal


@every_myriad
def test_nothing_random_beats_the_optimum(system_class):
  system = system_class(20, dtype=tf.float64)
  stored = scores.reference(system.name, 20)
  rng = np.random.default_rng(1)
  shape = (2000, 20, system.action_size)
  noise = rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 0, (2000, 1, 1))
  rivals = np.concatenate([rng.uniform(-1, 1, shape), np.clip(stored.actions + noise, -1, 1)])
  returns = tf.reduce_sum(simulate(system, tf.constant(rivals))[1], 1)
  assert np.max(returns) <= stored.optimal + 1e-8 * abs(stored.optimal)


def test_timber_harvest_is_one_switch():
  for horizon in (20, 50):
    system = SYSTEMS['TimberHarvest'](horizon, dtype=tf.float64)
    rewards = simulate(system, tf.constant(optimum.one_switch_sequences(horizon, 1)))[1]
    best = tf.reduce_max(tf.reduce_sum(rewards, 1))
    assert scores.reference('TimberHarvest', horizon).optimal == pytest.approx(float(best))


@every_myriad
def test_random_mean_is_that_of_other_draws(system_class):
  stored = scores.reference(system_class.__name__, 20)
  mean, error = random_return(system_class(20, dtype=tf.float64), 4000, seed=123)
  assert mean != stored.random
  assert abs(mean - stored.random) < 5 * np.hypot(error, stored.random_se)


def test_hiv_has_a_better_optimum_behind_the_clips():
  system = HIVTreatment(20, dtype=tf.float64)
  stored = scores.reference('HIVTreatment', 20)
  planned, actions = clip_patterns.search(system)
  assert planned == pytest.approx(rolled_out_return(system, actions), rel=1e-8)
  assert stored.optimal == pytest.approx(planned, rel=1e-8)
  assert stored.optimal > stored.robust_optimal + 1
  objective = make_objective(system)
  plain = optimum.ascend(objective, np.random.default_rng(0).uniform(-1, 1, (20, 1)))
  assert rolled_out_return(system, plain) <= stored.robust_optimal + 1e-6


def test_clip_patterns_repeat_the_systems_dynamics():
  system = HIVTreatment(20, dtype=tf.float64)
  patterns = clip_patterns.ClipPatterns(system)
  state, action = np.array([700.0, 0.3, 2.0]), 0.4
  control = 0.7  # action 0.4
  tensor, action = tf.constant(state), tf.constant([action], tf.float64)
  np.testing.assert_allclose(patterns._next(state, control), system.step(tensor, action, 3),
                             rtol=1e-12)
  np.testing.assert_allclose(float(patterns._reward(state, control)),
                             system.reward(tensor, action, 3), rtol=1e-12)


def test_solve_finds_the_stored_optimum():
  found = optimum.solve(SYSTEMS['CancerTreatment'](20, dtype=tf.float64), starts=1)
  assert found.value == pytest.approx(scores.reference('CancerTreatment', 20).optimal, rel=1e-7)


@pytest.mark.parametrize('name', ['ToyCreditAssignment', 'OneBounce'])
def test_a_solved_cell_is_the_stored_one(name):
  row, stored = solve_command.solve_cell(SYSTEMS[name](20, dtype=tf.float64), None), (
      scores.reference(name, 20))
  np.testing.assert_allclose(row['optimal'], stored.optimal, atol=1e-8)
  np.testing.assert_allclose(row['random'], stored.random, rtol=1e-6)


def test_compiled_objective_equals_the_roll_out():
  system = SYSTEMS['InvasivePlant'](12, dtype=tf.float64)
  actions = np.random.default_rng(0).uniform(-1, 1, (3, 12, 5))
  values, gradient = make_objective(system)(actions)
  _, rewards, expected = return_and_gradient(system, tf.constant(actions))
  np.testing.assert_allclose(values, tf.reduce_sum(rewards, 1), rtol=1e-12)
  np.testing.assert_allclose(gradient, expected, rtol=1e-10)


def test_stretch_keeps_a_constant_and_a_ramp():
  np.testing.assert_allclose(optimum.stretch_in_time(np.full((4, 2), 0.3), 9), np.full((9, 2), 0.3))
  ramp = optimum.stretch_in_time(np.linspace(-1, 1, 10)[:, None], 20)
  assert np.all(np.diff(ramp[:, 0]) >= 0)
  assert ramp.shape == (20, 1)


def test_normalised_score_is_0_for_random_and_1_for_the_optimum():
  reference = scores.Reference(random=-30.0, random_se=0.1, optimal=-20.0, actions=None)
  np.testing.assert_allclose(
      scores.normalised_score(np.array([-30.0, -25.0, -20.0]), reference), [0, 0.5, 1])
  assert scores.reference('CancerTreatment', 7) is None
  assert scores.reference('NoSuchSystem', 20) is None


def test_only_the_stored_system_itself_is_scored():
  class CancerTreatment(SYSTEMS['CancerTreatment']):
    """Somebody's own, of the same name."""

  stored = SYSTEMS['CancerTreatment']
  assert scores.reference_for(stored(20)).optimal == scores.reference('CancerTreatment', 20).optimal
  assert scores.reference_for(stored(20, process_noise=0.1)) is None
  assert scores.reference_for(CancerTreatment(20)) is None


def test_saving_keeps_a_better_optimum(tmp_path):
  path = tmp_path / 'optima.json'
  path.write_text('{"command": "whose", "systems": {}}')
  row = {'random': 0.0, 'random_se': 0.1, 'optimal': 2.0, 'method': 'first', 'actions': [[1.0]]}
  solve_command.save_row(path, 'System', 20, row)
  worse = row | {'optimal': 1.0, 'method': 'worse', 'random': 0.5}
  solve_command.save_row(path, 'System', 20, worse)
  solve_command.save_row(path, 'System', 50, row | {'optimal': 3.0})
  table = json.loads(path.read_text())
  rows = table['systems']['System']
  assert table['command'] == 'whose'
  assert rows['20'] == rows['50'] | row | {'random': 0.5}
  assert rows['50'].keys() - row.keys() == {'command', 'versions'}
  assert rows['50']['optimal'] == 3.0
  assert [file.name for file in tmp_path.iterdir()] == ['optima.json']
