"""A Gymnasium environment as a TF-Agents one: bounds, time, ends, seeds, one-line errors."""

import functools
import importlib.util
import sys

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.environments import utils

from asm_tf.agents.decision_transformer_agent import make_decision_transformer_agent
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.sequence_search_agent import make_sequence_search_agent
from asm_tf.environments.gymnasium_environment import GymnasiumCopies, GymnasiumEnvironment
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.environments.make_environment import failures_of
from asm_tf.errors import UserError
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.true_dynamics import make_true_dynamics
from asm_tf.plots.trajectory import draw_trajectory
from asm_tf.training.trainer import Trainer
from tests.support import gymnasium_environments

CORRIDOR, SPACES = 'asm_tf_test/Corridor-v0', 'asm_tf_test/Spaces-v0'
LIMIT = gymnasium_environments.LIMIT


def corridor(horizon=LIMIT, can_terminate=True, **kwargs):
  return GymnasiumSystem(horizon, CORRIDOR, can_terminate, kwargs)


def episodes(env, count, action=0.0):
  """`count` time-step sequences of a one-copy environment under a constant action."""
  found = []
  for _ in range(count):
    steps = [env.reset()]
    while not steps[-1].is_last():
      steps.append(env.step(np.full([1, 1], action, np.float32)))
    found.append(tf.nest.map_structure(lambda *x: np.concatenate(x), *steps))
  return found


@pytest.mark.parametrize('environment', [CORRIDOR, 'Pendulum-v1'])
def test_keeps_tf_agents_contract(environment):
  system = GymnasiumSystem(5, environment)
  utils.validate_py_environment(GymnasiumCopies(system, 3), episodes=4)


def test_specs_hold_sizes_and_bounds():
  system = GymnasiumSystem(50, 'Pendulum-v1', kwargs={'g': 5.0})
  env = GymnasiumEnvironment(system)
  spec, action_spec = env.observation_spec(), env.action_spec()
  np.testing.assert_array_equal(system.state_low, [-1, -1, -8])
  np.testing.assert_array_equal(system.state_high, [1, 1, 8])
  assert spec.dtype == tf.float32
  assert spec.shape == [4]
  assert action_spec.shape == [1]
  assert (action_spec.minimum, action_spec.maximum) == (-1, 1)
  assert (system.state_size, system.action_size, system.horizon) == (3, 1, 50)


def test_steps_are_the_environments_own():
  """Time, rescaled actions, rewards and the end, against the environment itself."""
  own = gymnasium.make(CORRIDOR)
  steps = episodes(GymnasiumCopies(corridor(), 1, seed=7), 1, action=-0.5)[0]
  seed = np.random.SeedSequence([7, 0, 1]).generate_state(1)[0]
  observation, reward, ended = own.reset(seed=int(seed))[0], 0.0, False
  for t, (state, found_reward) in enumerate(zip(steps.observation, steps.reward, strict=True)):
    np.testing.assert_allclose(state, [*np.ravel(observation), t], rtol=1e-6)
    assert found_reward == pytest.approx(reward)
    assert steps.step_type[t] == (0 if t == 0 else 2 if ended else 1)
    assert steps.discount[t] == (0 if ended else 1)
    if ended:
      break
    observation, reward, terminated, truncated, _ = own.step(np.zeros([1, 1]))  # of -1 to 3
    ended = terminated or truncated
  assert ended
  assert len(steps.reward) == LIMIT + 1


@pytest.mark.parametrize(('action', 'control'), [(-1, -1), (0, 1), (1, 3), (5, 3)])
def test_actions_are_rescaled(action, control):
  steps = episodes(GymnasiumCopies(corridor(3), 1), 1, action)[0]
  assert steps.observation[1, 1] == control


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_rounding_leads_out_of_no_bounds(dtype):
  box = gymnasium.spaces.Box(dtype(-0.1), dtype(0.2), [1], dtype)  # in float32, -0.1 + 0.3 > 0.2
  system = GymnasiumSystem(3, SPACES, kwargs={'action': box})
  for action in np.linspace(-1, 1, 101, dtype=np.float32):
    assert box.contains(system.native_action(action[None])), action


def test_an_episode_ends_where_the_environment_ends_it_and_at_the_horizon():
  short, = episodes(GymnasiumCopies(corridor(), 1), 1, action=1.0)
  assert len(short.reward) < LIMIT
  assert abs(short.observation[-1, 0]) > 1
  cut, = episodes(GymnasiumCopies(corridor(3), 1), 1, action=-0.5)
  assert len(cut.reward) == 4
  assert cut.discount[-1] == 0
  assert abs(cut.observation[-1, 0]) < 1


def test_seeds_tell_episodes_and_copies_apart_and_repeat_them():
  def starts(seed, reseeded=False):
    env = GymnasiumEnvironment(corridor(), 2, seed)
    found = [env.reset().observation[:, 0].numpy() for _ in range(3)]
    if reseeded:
      tf.function(env.reseed)()
      found = [env.reset().observation[:, 0].numpy() for _ in range(3)]
    return np.array(found)

  first = starts((1, 3))
  assert len(np.unique(first)) == 6
  np.testing.assert_array_equal(starts((1, 3)), first)
  np.testing.assert_array_equal(starts((1, 3), reseeded=True), first)
  assert not np.any(np.isin(starts((1, 4)), first))


def test_a_restored_environment_meets_the_same_episodes(tmp_path):
  env, other = (GymnasiumEnvironment(corridor(), 1, seed=1) for _ in range(2))
  for _ in range(3):
    env.reset()
  path = tf.train.Checkpoint(**env.checkpoint_items()).save(str(tmp_path / 'checkpoint'))
  expected = [env.reset().observation.numpy() for _ in range(2)]
  restored = tf.train.Checkpoint(**other.checkpoint_items())
  restored.read(path).assert_existing_objects_matched()
  np.testing.assert_array_equal([other.reset().observation.numpy() for _ in range(2)], expected)


@pytest.mark.parametrize(('broken', 'can_terminate', 'action', 'message'), [
    ({'nan_at': 2}, True, -0.5, r'episode 1, step 2: .* not finite, \[inf, 0.0\]'),
    ({'nan_at': 0}, True, -0.5, 'episode 1, step 0: .* not finite'),
    ({'nan_reward_at': 3}, True, -0.5, 'step 3: .* reward nan'),
    ({'sizes': (3,)}, True, -0.5, '3 numbers instead of the 2'),
    ({'reward_sizes': (2,)}, True, -0.5, 'gave 2 numbers as the reward of a step'),
    ({}, False, 1.0, 'can_terminate=True'),
])
def test_an_environment_that_fails_says_so_in_one_line(broken, can_terminate, action, message):
  env = GymnasiumEnvironment(corridor(can_terminate=can_terminate, **broken))

  @tf.function
  def run():
    env.reset()
    for _ in tf.range(5):
      env.step(tf.fill([1, 1], action))

  with pytest.raises(UserError, match=message) as raised, failures_of(env):
    run()
  assert CORRIDOR in raised.value.message
  assert '\n' not in raised.value.message


def test_a_reward_may_be_an_array_of_one_number():
  rewards = []
  for sizes in ((), (1,)):
    env = GymnasiumEnvironment(corridor(reward_sizes=sizes), 2, seed=1)
    env.reset()
    rewards.append(env.step(tf.zeros([2, 1])).reward)
  assert rewards[0].shape == [2]
  np.testing.assert_array_equal(*rewards)


def test_another_error_in_the_graph_stays_what_it_is():
  with pytest.raises(tf.errors.InvalidArgumentError), failures_of(GymnasiumEnvironment(corridor())):
    tf.debugging.assert_equal(tf.function(lambda: tf.constant(1))(), 2)


BOX = gymnasium.spaces.Box(-1, 1, [2])


@pytest.mark.parametrize(('step', 'message'), [
    (('abc', False, False), "gave 'abc' as the reward"), ((None, False, False), 'None as the rew'),
    (({'x': 1}, False, False), "{'x': 1} as the reward"), ((1j, False, False), '1j as the reward'),
    ((0.0, None, False), 'gave None as the terminated'), ((0.0, False, 'no'), "'no' as the trunca"),
    ((0.0, [True, False], False), '2 numbers as the terminated')])
def test_what_a_step_gives_is_checked(step, message):
  env = GymnasiumEnvironment(GymnasiumSystem(4, SPACES, kwargs={'step': (BOX.sample(), *step, {})}))
  env.reset()
  with pytest.raises(UserError, match=message), failures_of(env):
    env.step(tf.zeros([1, 1]))


def test_an_observation_that_does_not_fit_its_space_is_one_line():
  space = gymnasium.spaces.Dict({'a': BOX, 'b': gymnasium.spaces.Discrete(2)})
  env = GymnasiumEnvironment(GymnasiumSystem(4, SPACES, kwargs={
      'observation': space, 'reset': ({'a': BOX.sample()}, {})}))
  with pytest.raises(UserError, match=r"reset\(\) that does not fit its space \(KeyError: 'b'"), \
      failures_of(env):
    env.reset()


class OfOldGym(gymnasium.Wrapper):
  def step(self, action):
    return super().step(action)[:4]


@pytest.mark.parametrize(('arguments', 'message'), [
    ((4, 'Nowhere-v0'), "Nowhere-v0 cannot be made .*doesn't exist"),
    ((4, 'Pendulum-v1', True, {'gravity': 3}), 'cannot be made .*gravity'),
    ((4, 'Pendulum-v1', True, 9.81), 'give a dict'),
    ((4, 'some_module:Mine-v0'), "--gin_bindings='import some_module'"),
    ((4, None), 'give the id'),
    ((1, 'Pendulum-v1'), 'horizon is 1'),
    ((201, 'Pendulum-v1'), 'after 200 steps: give a horizon of at most 200'),
    ((4, 'CartPole-v1'), 'action space Discrete.2.*choose an environment'),
    pytest.param((4, 'LunarLander-v3'), "GymnasiumSystem.kwargs={'continuous': True}", marks=(
        pytest.mark.skipif(importlib.util.find_spec('Box2D') is None,
                           reason='LunarLander is made of Box2D'))),
    ((4, SPACES, True, {'action': KeyError('x')}), r"cannot be made \(KeyError: 'x'\)"),
    ((4, SPACES, True, {'observation': None}), 'no observation_space'),
    ((4, SPACES, True, {'action': None}), 'action space None'),
    ((4, CORRIDOR, True, {}, True, [f'{__name__}.OfOldGym']), r'step\(\) returns a tuple of 4'),
    ((4, SPACES, True, {'observation': gymnasium.spaces.Sequence(BOX)}), 'no fixed number'),
    ((4, SPACES, True, {'reset': BOX.sample()}), r'reset\(\) returns a ndarray instead of'),
    ((4, SPACES, True, {'step': (BOX.sample(), 0.0, False, {})}), r'step\(\) returns a tuple of 4'),
    ((4, SPACES, True, {'step': KeyError('x')}), r"step\(\) raises KeyError \('x'\)"),
    ((None, SPACES), 'no limit of steps'),
    ((4, 'Pendulum-v1', True, {}, True, ['Clip']), 'wrappers names Clip, which is none of'),
    *(((4, 'Pendulum-v1', True, {}, True, [name]), f'wrapped in {name}, which keeps statistics')
      for name in ('NormalizeObservation', 'NormalizeReward')),
    ((4, 'Pendulum-v1', True, {}, True, ['os.path.Clip']), 'import os.path'),
    ((4, 'Pendulum-v1', True, {}, True, [('ClipReward', {'x': 1})]), 'wrapped in ClipReward .*x'),
    ((4, 'Pendulum-v1', True, {}, True, (), 0), 'copies is 0'),
    ((4, SPACES, True, {'action': gymnasium.spaces.Box(-np.inf, 1, [1])}), 'without bounds'),
    ((4, SPACES, True, {'action': gymnasium.spaces.Box(0, 3, [1], np.int32)}), 'int32'),
])
def test_what_does_not_fit_is_refused_in_one_line(arguments, message):
  with pytest.raises(UserError, match=message) as raised:
    GymnasiumSystem(*arguments)
  assert '\n' not in raised.value.message


SPACE = gymnasium.spaces.Dict({
    'arm': gymnasium.spaces.Tuple([gymnasium.spaces.Box(-1, 1, [2]), gymnasium.spaces.Discrete(3)]),
    'lamps': gymnasium.spaces.MultiBinary(2), 'speed': gymnasium.spaces.Box(0, 9, [1], np.int64)})


def test_any_space_that_gymnasium_flattens_is_an_observation():
  system = GymnasiumSystem(4, SPACES, kwargs={'observation': SPACE})
  assert system.state_size == 2 + 3 + 2 + 1
  assert system.state_names == [
      'arm.0 1', 'arm.0 2', 'arm.1 1', 'arm.1 2', 'arm.1 3', 'lamps 1', 'lamps 2', 'speed']
  env = GymnasiumCopies(system, 2)
  env.reset()
  states = env.step(np.zeros([2, 1], np.float32)).observation[:, :-1]
  assert np.all((system.state_low <= states) & (states <= system.state_high))
  np.testing.assert_array_equal(states[:, 2:5].sum(1), 1)  # one of three


def test_whole_numbers_may_bound_an_observation(recwarn):
  image = gymnasium.spaces.Box(0, 255, [2, 2, 3], np.uint8)
  system = GymnasiumSystem(4, SPACES, kwargs={'observation': image})
  assert system.state_high.tolist() == [255] * 12
  assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


@pytest.mark.parametrize(('space', 'dtype'), [
    (gymnasium.spaces.Box(0, 255, [2, 2, 3], np.uint8), tf.uint8),
    (gymnasium.spaces.Box(-3, 5, [2], np.int64), tf.int8),
    (gymnasium.spaces.Box(0, 256, [2], np.int32), tf.uint16),
    (gymnasium.spaces.Box(-1, 200, [2], np.int32), tf.int16),
    (gymnasium.spaces.Box(0, 10**6, [2], np.int32), None),
    (gymnasium.spaces.MultiBinary(4), tf.uint8), (gymnasium.spaces.Discrete(4), tf.uint8),
    (SPACE, None), (gymnasium.spaces.Box(0, 255, [2], np.float32), None)])
def test_whole_numbers_are_stored_as_such(space, dtype):
  assert GymnasiumSystem(4, SPACES, kwargs={'observation': space}).integer_dtype == dtype


def test_whole_numbers_that_float32_does_not_tell_apart_are_one_line():
  space = gymnasium.spaces.Box(0, 2**40, [1], np.int64)
  for number in (2**24, 2**24 + 1):
    env = GymnasiumEnvironment(GymnasiumSystem(4, SPACES, kwargs={
        'observation': space, 'reset': (np.array([number]), {})}))
    if number == 2**24:
      assert env.reset().observation[0, 0] == number
  with pytest.raises(UserError, match=r'whole numbers beyond 2\*\*24'):
    env.reset()


def test_an_observation_outside_its_space_of_whole_numbers_is_one_line():
  space = gymnasium.spaces.Box(0, 100, [2], np.uint8)
  env = GymnasiumEnvironment(GymnasiumSystem(4, SPACES, kwargs={
      'observation': space, 'reset': (np.array([3, 200]), {})}))
  with pytest.raises(UserError, match='outside its space, of whole numbers from 0 to 100'), \
      failures_of(env):
    env.reset()


class Doubled(gymnasium.RewardWrapper):
  def __init__(self, env, factor=2):
    super().__init__(env)
    self._factor = factor

  def reward(self, reward):
    return self._factor * reward


def test_wrappers_are_applied_in_their_order():
  def rewards(*wrappers):
    env = GymnasiumCopies(GymnasiumSystem(4, CORRIDOR, wrappers=wrappers), 1)
    env.reset()
    return env.step(np.zeros([1, 1], np.float32)).reward.item()

  plain, doubled = rewards(), f'{__name__}.Doubled'
  assert __name__ in sys.modules
  assert rewards(doubled) == pytest.approx(2 * plain)
  clip = 'ClipReward', {'min_reward': 0.0, 'max_reward': 0.25}
  assert rewards(clip, (doubled, {'factor': 3})) == pytest.approx(0.75)
  assert rewards((doubled, {'factor': 3}), clip) == pytest.approx(0.25)


def test_what_the_environment_raises_names_the_place():
  env = GymnasiumEnvironment(corridor(raise_at=2))
  with pytest.raises(UserError, match=(
      r'episode 1, step 1: the environment raised ZeroDivisionError in step\(\), '
      r'gymnasium_environments.py line \d+: .*division by zero')), failures_of(env):
    env.reset()
    for _ in range(3):
      env.step(tf.zeros([1, 1]))


@pytest.mark.parametrize('time_aware', [True, False])
def test_a_limit_of_steps_ends_only_what_is_aware_of_it(time_aware):
  def last(horizon, action):
    system = GymnasiumSystem(horizon, CORRIDOR, time_aware=time_aware)
    episode, = episodes(GymnasiumCopies(system, 1), 1, action)
    assert episode.step_type[-1] == 2
    return len(episode.reward) - 1, episode.discount[-1]

  assert last(3, -0.5) == (3, 0.0 if time_aware else 1.0)
  assert last(None, -0.5) == (LIMIT, 0.0 if time_aware else 1.0)
  length, discount = last(LIMIT, 1.0)
  assert length < LIMIT
  assert discount == 0.0


@pytest.mark.parametrize(('make_agent', 'message'), [
    (make_asm_agent, 'learned_reward.gin'),
    (functools.partial(make_asm_agent, reward_model=RewardModel, world_model=functools.partial(
        make_true_dynamics, system=lambda _: corridor(), horizon=LIMIT)), 'learned world model'),
    (make_decision_transformer_agent, 'known optimum'),
    (make_sequence_search_agent, 'may end early'),
])
def test_agents_that_need_equations_or_a_fixed_length_say_so(make_agent, message):
  with pytest.raises(UserError, match=message):
    Trainer(corridor(), make_agent, seed=0)


def test_a_wrapped_environment_is_drawn_under_its_own_names():
  system = GymnasiumSystem(None, 'Pendulum-v1', wrappers=['TimeAwareObservation'])
  figure = draw_trajectory(system, np.zeros([4, 4]), np.zeros([3, 1]))
  assert [axis.get_ylabel() for axis in figure.axes] == [
      'state 1', 'state 2', 'state 3', 'state 4', 'control']
  system = GymnasiumSystem(4, SPACES, kwargs={'observation': gymnasium.spaces.Box(0, 1, [9])})
  figure = draw_trajectory(system, np.zeros([4, 9]), np.zeros([3, 1]))
  assert figure.axes[0].get_title('left').endswith('\nthe first 5 of 9 states')


def test_an_episode_that_ended_early_can_be_drawn():
  figure = draw_trajectory(corridor(), np.zeros([4, 2]), np.full([3, 1], -1.0))
  states, _, controls = figure.axes
  assert states.get_lines()[0].get_xdata().tolist() == [0, 1, 2, 3]
  assert set(controls.patches[0].get_data().values) == {-1.0}
