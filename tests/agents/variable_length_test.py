"""Episodes that end early: what pads them never counts, and their end is learned."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver
from tf_agents.trajectories import time_step as ts

from asm_tf.agents.critic import Critic
from asm_tf.agents.execution import Execution
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.sac_agent import SoftActorCritic, make_sac_agent
from asm_tf.agents.sac_networks import SacNetworks
from asm_tf.environments.gymnasium_environment import GymnasiumEnvironment
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.errors import UserError
from asm_tf.models.continuation import ContinuationModel, RewardUntilTermination
from asm_tf.models.loss import mask_weights, prediction_loss
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.reward_model import RewardModel
from asm_tf.policies.colored_noise import ColoredNoise
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.policies.tf_policies import UniformPolicy
from asm_tf.replay import episode_steps
from asm_tf.replay.padded_episode_accumulator import PaddedEpisodeAccumulator
from asm_tf.replay.window_replay_buffer import WindowReplayBuffer
from asm_tf.training import train as train_module
from asm_tf.training.checkpointer import Checkpointer
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.train import RunOptions
from asm_tf.training.trainer import Trainer
from asm_tf.training.training_loop import TrainingLoop
from asm_tf.training.workers import Workers
from tests.support import gymnasium_environments, small_models
from tests.support.uniform_policy import uniform_policy

CORRIDOR = 'asm_tf_test/Corridor-v0'
H = gymnasium_environments.LIMIT
small_asm = functools.partial(
    make_asm_agent,
    reward_model=functools.partial(RewardModel, hidden_sizes=(8,)),
    world_model=functools.partial(LSTM, embedding_size=4, hidden_sizes=(4,)),
    actor=functools.partial(SquashedGaussianActor, hidden_sizes=(8,)))
quick_asm = functools.partial(  # to trace
    small_asm, world_model=functools.partial(Markov, hidden_sizes=(4,)))
small_windows = functools.partial(
    quick_asm, critic=functools.partial(Critic, hidden_sizes=(8,), imagined_steps=3))
small_sac = functools.partial(
    make_sac_agent, agent=functools.partial(SoftActorCritic, policy_period=2),
    networks=functools.partial(SacNetworks, critic_hidden_sizes=(8,), actor_hidden_sizes=(8,)))


@pytest.mark.parametrize('time_aware', [False, True])
@pytest.mark.parametrize('make', [small_windows, small_sac])
def test_only_an_agent_with_a_last_step_sees_the_step(make, time_aware):
  trainer = Trainer(GymnasiumSystem(H, CORRIDOR, time_aware=time_aware), make, 0, eager())
  now = trainer.env.reset()
  later = now._replace(observation=now.observation + [[0.0, 0.0, 3.0]])
  one, other = (trainer.agent.policy.action(step).action.numpy() for step in (now, later))
  assert np.array_equal(one, other) == (not time_aware)


def eager(microbatches=1):
  return Execution(jit_compile=False, microbatches=microbatches)


def corridor(horizon=H, environment=CORRIDOR, **kwargs):
  return GymnasiumSystem(horizon, environment, kwargs=kwargs, copies=32)


def collect(copies, count=1, action=None):
  """The rows that a driver emitted, and the batches that the accumulator completed."""
  env = GymnasiumEnvironment(corridor(), copies, seed=5)
  policy = uniform_policy(env, H) if action is None else Constant(
      env.time_step_spec(), env.action_spec(), action)
  rows, batches = [], []
  accumulator = PaddedEpisodeAccumulator(policy.trajectory_spec, copies, H + 1)

  def accumulate(row):
    if accumulator(row):
      batches.append(accumulator.latest())

  observers = [lambda row: rows.append(tf.nest.map_structure(tf.identity, row)), accumulate]
  DynamicEpisodeDriver(env, policy, observers, num_episodes=count * copies * (H + 1)).run(
      maximum_iterations=count * (H + 1))
  return tf.nest.map_structure(lambda *x: np.stack(x, 1), *rows), batches


def padded(rows, copy, first):
  """Episode of a copy from row `first` on, padded in numpy: a nest of [H+1, ...]."""
  last = first + int(np.argmax(rows.is_boundary()[copy, first:]))
  episode = tf.nest.map_structure(
      lambda x: np.concatenate([
          x[copy, first:last + 1], np.repeat(x[copy, last:last + 1], H - (last - first), 0)]),
      rows)
  for name in ('action', 'reward', 'discount'):
    getattr(episode, name)[last - first + 1:] = 0
  return episode, last - first


@pytest.mark.parametrize('copies', [1, 4])
def test_episodes_are_padded_by_their_last_row(copies):
  rows, batches = collect(copies, count=4)
  assert len(batches) >= 2
  found = []
  first = np.zeros(copies, int)
  for batch in batches:
    ends = []
    for copy in range(copies):
      episode, length = padded(rows, copy, first[copy])
      tf.nest.map_structure(
          lambda x, y, copy=copy: np.testing.assert_array_equal(x[copy], y), batch, episode)
      ends.append(first[copy] + length)
      found.append(length)
      assert episode_steps.lengths(batch)[copy] == length
      np.testing.assert_array_equal(episode_steps.steps_taken(batch)[copy], np.arange(H) < length)
      np.testing.assert_array_equal(
          episode_steps.states_visited(batch)[copy], np.arange(H + 1) <= length)
    # Each copy writes again at the first start after the batch was complete.
    starts = [np.flatnonzero(rows.is_first()[copy]) for copy in range(copies)]
    first = np.array([np.append(start[start > max(ends)], 10**6)[0] for start in starts])
  assert len(set(found)) > 1  # the test has something to test
  assert min(found) < H


def spoiled(episodes):
  """The same episodes with other numbers where nothing was real."""
  taken, visited = episode_steps.steps_taken(episodes), episode_steps.states_visited(episodes)
  boundary = tf.concat([taken, tf.zeros_like(taken[:, :1])], 1)
  return episodes._replace(
      observation=tf.where(visited[..., None], episodes.observation, 77.0),
      action=tf.where(boundary[..., None], episodes.action, 0.5),
      reward=tf.where(boundary, episodes.reward, 99.0))


@pytest.fixture(scope='module')
def episodes():
  batch = collect(16)[1][0]
  assert len(set(episode_steps.lengths(batch).numpy())) > 2
  return batch


def real(episodes):
  """Real states [N, n] and rewards [K] by a loop in numpy."""
  states, rewards = [], []
  for i, length in enumerate(episode_steps.lengths(episodes).numpy()):
    states += list(episodes.observation[i, :length + 1, :-1].numpy())
    rewards += list(episodes.reward[i, :length].numpy())
  return np.array(states), np.array(rewards)


@pytest.mark.parametrize('make_agent', [small_asm, small_sac])
def test_running_moments_are_those_of_the_real_rows(make_agent, episodes):
  trainer = Trainer(corridor(), make_agent, 0, eager())
  agent = trainer.agent
  normalizer = agent.world.normalizer if make_agent is small_asm else agent._normalizer
  padding = spoiled(episodes)
  trainer.agent.observe(padding._replace(reward=episodes.reward))
  states, rewards = real(episodes)
  np.testing.assert_allclose(
      normalizer.normalize(states), (states - states.mean(0)) / states.std(0), atol=1e-4)
  differences = np.concatenate([
      np.diff(episodes.observation[i, :length + 1, :-1], axis=0)
      for i, length in enumerate(episode_steps.lengths(episodes).numpy())])
  np.testing.assert_allclose(
      normalizer.denormalize_difference(tf.ones([2])), differences.std(0), rtol=1e-4)
  if make_agent is small_asm:
    moments = agent.world.reward.reward._moments
    np.testing.assert_allclose([moments.mean[0], moments.std[0]],
                               [rewards.mean(), rewards.std()], rtol=1e-5)


class Still(tf.Module):
  """A world model that predicts the initial state."""

  def predict_teacher_forced(self, states, actions, training=False):
    return tf.repeat(states[:, :1], actions.shape[1], 1)


@pytest.mark.parametrize('loss_weighting', ['uniform', 'inverse_time'])
def test_the_prediction_loss_is_the_mean_over_the_steps_taken(loss_weighting, episodes):
  normalizer, taken = Normalizer(2, H, enabled=False), episode_steps.steps_taken(episodes)
  states, actions = spoiled(episodes).observation[..., :-1], episodes.action[:, :-1]
  loss = prediction_loss(
      Still(), normalizer, states, actions, mask_weights(taken), loss_weighting)
  squares, count = 0.0, 0
  octaves = 1 / np.arange(1, H + 1) / np.mean(1 / np.arange(1, H + 1))
  for i, length in enumerate(episode_steps.lengths(episodes).numpy()):
    error = np.mean((states[i, 1:length + 1] - states[i, :1]).numpy() ** 2, 1)
    squares += np.sum(error * (octaves[:length] if loss_weighting == 'inverse_time' else 1))
    count += length
  assert loss.numpy() == pytest.approx(squares / count, rel=1e-5)


def test_the_agents_loss_does_not_see_what_pads_an_episode(episodes):
  agent = Trainer(corridor(), quick_asm, 0, eager()).agent
  agent.observe(episodes)
  one, other = (float(agent.loss(batch).loss) for batch in (episodes, spoiled(episodes)))
  agent.train(episodes)
  assert one == other == pytest.approx(float(agent.metrics()['model_loss']), rel=1e-6)


@pytest.mark.parametrize('microbatches', [1, 2])
def test_an_update_does_not_see_what_pads_an_episode(microbatches, episodes):
  """The same weights after an update on padding of two kinds, also in microbatches."""
  def updated(batch, microbatches):
    tf.keras.utils.set_random_seed(0)
    agent = Trainer(corridor(), small_asm, 0, eager(microbatches)).agent
    agent.observe(episodes)
    for _ in range(3):
      agent.train(batch)
    return [v.numpy() for model in (agent.world.model, agent.world.reward)
            for v in model.trainable_variables]

  expected = updated(episodes, 1)
  for value, other in zip(updated(spoiled(episodes), microbatches), expected, strict=True):
    np.testing.assert_allclose(value, other, rtol=1e-3, atol=1e-5)


def test_transitions_are_those_that_happened(episodes):
  spec = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape[2:], x.dtype), episodes)
  replay = WindowReplayBuffer(spec, H + 1, window=1, capacity=1000)
  replay.add_batch(episodes)
  states, rewards = real(episodes)
  kept = replay.gather_all()
  np.testing.assert_array_equal(kept.observation[:, :-1], states)
  np.testing.assert_array_equal(kept.reward[~kept.is_boundary()], rewards)
  is_step = ~kept.is_boundary()
  ends = (kept.next_step_type == ts.StepType.LAST)[is_step].numpy()
  assert np.sum(ends) == 16
  np.testing.assert_array_equal(kept.discount[is_step], np.where(ends, 0.0, 1.0))


def models():
  tf.keras.utils.set_random_seed(0)
  normalizer = Normalizer(2, H)
  normalizer.update(tf.random.normal([100, 2], seed=0))
  reward = RewardModel(normalizer, 2, 1, (8,))
  return RewardUntilTermination(reward, ContinuationModel(normalizer, 2, (32,)))


def test_imagined_rewards_count_by_the_chance_that_they_are_reached():
  product, t = models(), tf.range(H)
  states, actions = tf.random.normal([3, H, 2]), tf.random.normal([3, H, 1])
  c = 1 / (1 + np.exp(-product.continuation(states, t).numpy()))
  expected = product.reward(states, actions, t).numpy()
  for k in range(H):
    expected[:, k] *= np.prod(c[:, 1:k + 1], 1)
  np.testing.assert_allclose(product(states, actions, t), expected, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_finite_where_no_reward_is_reached():
  product = models()
  product.continuation._read_out.bias.assign([-1000.0])
  states = tf.random.normal([3, H, 2])
  with tf.GradientTape() as tape:
    tape.watch(states)
    rewards = product(states, tf.zeros([3, H, 1]), tf.range(H))
  assert np.all(np.isfinite(tape.gradient(rewards, states)))
  assert np.all(rewards[:, 0] != 0)
  np.testing.assert_array_equal(rewards[:, 1:], tf.zeros([3, H - 1]))


def test_the_end_is_learned(episodes):
  """c is near 1 in the corridor, near 0 outside it; padding says nothing."""
  product, optimizer = models(), tf.keras.optimizers.Adam(3e-2, jit_compile=False)
  batch, weights = spoiled(episodes), mask_weights(episode_steps.steps_taken(episodes))
  states, t, continues = batch.observation[:, 1:, :-1], tf.range(1, H + 1), batch.discount[:, :-1]
  continuation = product.continuation

  @tf.function
  def update():
    with tf.GradientTape() as tape:
      loss = continuation.loss(states, t, continues, weights)
    variables = continuation.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return loss

  optimizer.build(continuation.trainable_variables)
  for _ in range(300):
    loss = update()
  assert loss < 0.05
  inside, outside = (tf.sigmoid(continuation(tf.constant([[x, 1.0]]), tf.constant([4]))).numpy()[0]
                     for x in (0.0, 1.6))
  assert inside > 0.9
  assert outside < 0.1
  unspoiled = continuation.loss(episodes.observation[:, 1:, :-1], t, continues, weights)
  loss = continuation.loss(states, t, continues, weights)
  assert loss.numpy() == pytest.approx(unspoiled.numpy())


def test_reward_and_end_are_learned_where_they_happened(episodes):
  """The loss of an update, by a loop over the real steps; that H comes next is not learned."""
  staying = collect(8, action=-0.5)[1][0]  # to H
  episodes = tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), episodes, staying)
  assert H in episode_steps.lengths(episodes)
  agent = Trainer(corridor(), small_asm, 0, eager()).agent
  agent.observe(episodes)
  product, moments = agent.world.reward, agent.world.reward.reward._moments
  errors, entropies = [], []
  for i, length in enumerate(episode_steps.lengths(episodes).numpy()):
    states, t = episodes.observation[i, :length + 1, :-1], tf.range(length + 1)
    rewards = product.reward(states[:-1], episodes.action[i, :length], t[:-1])
    errors += list((rewards - episodes.reward[i, :length]) / moments.std[0])
    for k in range(1, min(length, H - 1) + 1):
      c = tf.sigmoid(product.continuation(states[k:k + 1], t[k:k + 1]))[0]
      entropies.append(-np.log(1 - c if k == length else c))  # those of H steps go on until H - 1
  learner, = agent.other_learners
  learner.update(episodes)
  assert learner.metrics.values()['reward_loss'].numpy() == pytest.approx(
      np.mean(np.square(errors)) + np.mean(entropies), rel=1e-4)


def train(root_dir, system):
  return train_module.train(
      RunOptions(str(root_dir)), system, H, quick_asm,
      make_trainer=functools.partial(Trainer, warmup_steps=30, batch_size=4),
      make_loop=functools.partial(TrainingLoop, 90, eval_interval=30, checkpoint_interval=30),
      make_execution=functools.partial(Execution, jit_compile=False, microbatches=1))


def rows(root_dir):
  return [{key: value for key, value in json.loads(line).items() if 'second' not in key}
          for line in (root_dir / 'metrics.jsonl').read_text().splitlines()]


@pytest.mark.parametrize('make_agent', [quick_asm, small_windows])
def test_a_restored_run_goes_on_to_the_same_bits(make_agent, tmp_path):
  def build():
    tf.keras.utils.set_random_seed(0)
    trainer = Trainer(corridor(), make_agent, 0, eager(), warmup_steps=16, batch_size=4)
    return trainer, Checkpointer(trainer, tmp_path / 'checkpoints', Workers(None))

  def finish(trainer):
    while trainer.env_steps < 60:
      trainer.iterate()
    return [variable.numpy() for variable in trainer.variables]

  trainer, checkpointer = build()
  while trainer.env_steps < 30:
    trainer.iterate()
  checkpointer.save(0.0, rows=0)
  expected = finish(trainer)
  restored, checkpointer = build()
  assert checkpointer.restore(rows=0) == 0.0
  assert 30 <= restored.env_steps < 60
  for value, other in zip(finish(restored), expected, strict=True):
    np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize('make_agent', [
    quick_asm, small_windows, pytest.param(small_sac, marks=pytest.mark.slow)])
def test_only_real_steps_are_counted(make_agent):
  trainer = Trainer(corridor(), make_agent, 0, eager(), warmup_steps=30, batch_size=4)
  observe, steps = trainer.agent.observe, []
  trainer.agent.observe = lambda batch: (
      observe(batch), tf.numpy_function(lambda x: steps.append(int(x)), [
          episode_steps.lengths(batch)[0]], []))
  while trainer.env_steps < 100:
    trainer.iterate()
  assert trainer.env_steps == sum(steps)
  assert min(steps) < H
  assert trainer.updates == (trainer.env_steps - 30) // 2  # all that are due
  if make_agent is not quick_asm:
    assert trainer.replay.num_frames() == trainer.env_steps


@pytest.mark.slow
@small_models.every_model
def test_every_model_learns_from_windows(make, monkeypatch):
  monkeypatch.setattr(small_models, 'F64', {'dtype': 'float32'})
  make_agent = functools.partial(small_windows, world_model=lambda *sizes: make(*sizes, 4, 1))
  trainer = Trainer(corridor(), make_agent, 0, eager(), warmup_steps=30, batch_size=4)

  def weights():
    agent = trainer.agent
    return [np.concatenate([variable.numpy().ravel() for variable in part.trainable_variables])
            for part in (agent.world.model, agent.policy_learner.actor)]

  before = weights()
  while trainer.updates < 20:
    trainer.iterate()
  for value, other in zip(weights(), before, strict=True):
    assert np.all(np.isfinite(value))
    assert np.mean(value != other) > 0.5
  assert trainer.metrics()['skipped_updates'] == 0


def test_evaluation_runs_whole_episodes_of_any_length():
  def evaluate(action):
    return Evaluator(corridor(), lambda *specs: Constant(*specs, action)).evaluate()

  staying, leaving = evaluate(-0.5), evaluate(1.0)
  assert staying.mean_length == H
  assert leaving.mean_length < H / 2
  assert len(leaving.states) == len(leaving.actions) + 1 < H
  assert abs(leaving.states[-1, 0]) > 1 > abs(leaving.states[-2, 0])
  # Without control, 8 rewards 1 + x of a start x that is uniform in (-0.5, 0.5), 32 times.
  assert staying.mean_return == pytest.approx(H, abs=4 * H * 0.29 / 32**0.5)
  assert evaluate(-0.5).mean_return == staying.mean_return


def test_every_policy_is_evaluated_from_the_same_starts():
  """Eight copies, four times each: what comes after an early end moves none of the others."""
  def returns(action):
    system = GymnasiumSystem(H, CORRIDOR, copies=8)
    return Evaluator(system, lambda *specs: Constant(*specs, action)).evaluate().returns

  staying, leaving = returns(-0.5), returns(1.0)
  x = np.where(leaving < 1.7, leaving - 1, (leaving - 2.9) / 2)  # one step, or two
  assert 0 < np.sum(leaving < 1.7) < 32
  np.testing.assert_allclose(staying / H - 1, x, atol=1e-5)
  assert len(set(x)) == 32
  some = Evaluator(GymnasiumSystem(H, CORRIDOR, copies=8),
                   lambda *specs: Constant(*specs, -0.5), episodes=11).evaluate()
  np.testing.assert_allclose(some.returns, staying[:11])


@pytest.mark.parametrize(('threshold', 'fewest', 'most'), [(-0.3, 1, 9), (-np.inf, 0, 0)])
def test_every_copy_is_evaluated_once(threshold, fewest, most):
  """Copies that start right of a threshold leave after a step or two, again and again; the rest
  stay."""
  evaluator = Evaluator(corridor(), lambda *specs: Constant(*specs, 1.0, threshold=threshold))
  x = GymnasiumEnvironment(corridor(), 32, (0, 6)).reset().observation[:, 0].numpy()
  stays = x <= threshold
  lengths = np.where(stays, H, np.where(x + 0.9 > 1, 1, 2))
  drift = 0.03 * sum(range(H))
  returns = np.where(stays, H * (1 + x) - drift, np.where(lengths == 1, 1 + x, 2 * (1 + x) + 0.9))
  assert fewest <= stays.sum() <= most
  for _ in range(2):
    found = evaluator.evaluate()
    assert found.mean_length == lengths.mean()
    np.testing.assert_allclose(found.returns, returns, rtol=1e-5)


class Constant(UniformPolicy):
  """Takes one action for ever; left of a threshold, one that moves by -0.03."""

  def __init__(self, time_step_spec, action_spec, value, threshold=-np.inf):
    super().__init__(time_step_spec, action_spec, ColoredNoise(
        tf.random.Generator.from_seed(0, alg='philox'), H, action_spec.shape[0]))
    self._value, self._threshold = value, threshold

  def _action(self, time_step, policy_state, seed):
    step = super()._action(time_step, policy_state, seed)
    goes = time_step.observation[:, :1] > self._threshold
    return step._replace(action=tf.where(goes, self._value, -0.55))


def test_a_broken_environment_stops_the_run_and_loses_nothing(tmp_path):
  broken = functools.partial(corridor, nan_in_episode=7)
  with pytest.raises(UserError, match='episode 7, step 1: the environment gave the reward nan'):
    train(tmp_path / 'run', broken)
  row, = rows(tmp_path / 'run')
  assert row['env_steps'] == 0
  assert not (tmp_path / 'run/summary.json').exists()
