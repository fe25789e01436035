"""What sets each world model apart from the others, and the learned reward (float64)."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.gradients.jacobians import action_jacobians
from asm_tf.models import recurrent, state_space, unrolling
from asm_tf.models.history import HistoryModel
from asm_tf.models.loss import prediction_loss
from asm_tf.models.lstm import LSTM, LSTMLayer
from asm_tf.models.markov import Markov
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.reward_model import RewardModel
from asm_tf.models.rnn import RNN
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer
from asm_tf.models.true_dynamics import TrueDynamics, make_true_dynamics
from asm_tf.systems.registry import SYSTEMS
from asm_tf.systems.rollout import return_and_gradient, simulate

B, T, N, M, HORIZON = 2, 4, 2, 1, 6
MEAN, STD = np.array([3.0, -50.0]), np.array([1.0, 100.0])
F64 = {'dtype': 'float64'}


class Memoryless(SequenceModel):
  """The next state is a linear map of the pair that the step is given."""

  def __init__(self, normalizer, state_size, action_size, dtype):
    super().__init__(dtype=dtype)
    self._weights = self.add_weight(
        name='weights', shape=[action_size, state_size], initializer='glorot_normal')

  def start(self, initial_state, horizon):
    return ()

  def step(self, carry, action, t):
    return action @ self._weights, carry


def lstm(normalizer, state_size, action_size, dtype):
  return LSTM(normalizer, state_size, action_size, 4, (4,), dtype=dtype)


def transformer(normalizer, state_size, action_size, dtype):
  return Transformer(normalizer, state_size, action_size, 6, 1, hidden_size=4, dtype=dtype)


def build(make, seed=0, enabled=True, **arguments):
  """A model with random weights, biases included, and a normaliser that has seen states."""
  tf.keras.utils.set_random_seed(seed)
  generator = np.random.default_rng(seed)
  normalizer = Normalizer(N, HORIZON, enabled, tf.float64)
  normalizer.update(tf.constant(generator.normal(MEAN, STD, (100, N))))
  model = make(normalizer, N, M, **arguments, **F64)
  for variable in model.trainable_variables:
    variable.assign_add(0.3 * generator.normal(size=variable.shape))
  return model


def history(core, stop_feedback_gradient=False):
  return build(HistoryModel, sequence_model=core, stop_feedback_gradient=stop_feedback_gradient)


def trajectories(steps=T, batch=B, seed=1):
  """True states [B, T+1, n] and actions [B, T, m]."""
  generator = np.random.default_rng(seed)
  return (tf.constant(generator.normal(MEAN, STD, (batch, steps + 1, N))),
          tf.constant(generator.uniform(-1, 1, (batch, steps, M))))


def action_jacobian(predict, actions, row):
  """d (sum of the prediction of s_{row+1}, in units of its spread) / d actions, [B, T, m]."""
  with tf.GradientTape() as tape:
    tape.watch(actions)
    objective = tf.reduce_sum(predict(actions)[:, row] / STD)
  return tape.gradient(objective, actions).numpy()


@pytest.mark.parametrize(('loss_weighting', 'mask_weights'), [
    ('uniform', np.ones(T)),
    ('inverse_time', T / np.arange(1, T + 1) / sum(1 / t for t in range(1, T + 1)))])
def test_the_loss_is_the_weighted_mean_of_squares(loss_weighting, mask_weights):
  model = build(Markov)
  normalizer = Normalizer(N, HORIZON, dtype=tf.float64)
  normalizer.update(tf.constant([MEAN - STD, MEAN + STD]))
  states, actions = trajectories()
  weights = np.random.default_rng(1).uniform(0, 3, actions.shape[:2])
  loss = prediction_loss(model, normalizer, states, actions, weights, loss_weighting)
  error = (model.predict_teacher_forced(states, actions) - states[:, 1:]) / STD
  wanted = np.mean(weights[..., None] * mask_weights[:, None] * error**2)
  np.testing.assert_allclose(loss, wanted, rtol=1e-5)


@pytest.mark.parametrize(('make', 'module'), [
    (RNN, recurrent), (LSTM, recurrent), (StateSpace, state_space)])
def test_a_long_sequence_is_predicted_chunk_by_chunk(make, module, monkeypatch):
  model = build(make)
  (states, actions) = trajectories(steps=HORIZON)
  monkeypatch.setattr(module, '_CHUNK', 2)
  monkeypatch.setattr(unrolling, '_MAX_CHUNKS', 2)  # three steps each
  whole, chunked = [], []
  for predictions, accelerator in ((whole, True), (chunked, False)):
    with unrolling.made_for(accelerator):
      predictions += [model(states[:, 0], actions),
                      action_jacobian(lambda actions: model(states[:, 0], actions), actions, 5)]
  for one, other in zip(whole, chunked, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
  assert np.all(chunked[1] != 0)  # the gradient passes from chunk to chunk


def test_an_lstms_memories_fill_the_octaves_up_to_the_horizon():
  enter, forget, *_ = np.split(LSTMLayer(1, 3, longest_memory=200, dtype='float64').bias, 4)
  entered, kept = (1 / (1 + np.exp(-bias)) for bias in (enter, forget))  # of a step
  np.testing.assert_allclose(1 / (1 - kept), [2, 20, 200])
  np.testing.assert_allclose(entered, 1 - kept)  # what stays for long fills slowly
  biases = [np.split(LSTM(Normalizer(1, 200, dtype=tf.float64), 1, 1, 4, (3,), chrono,
                          dtype='float64')._stack[0].bias, 4) for chrono in (True, False)]
  np.testing.assert_allclose(biases[0], [enter, forget, *_])
  np.testing.assert_array_equal(biases[1][1], 1)


def test_markov_forced_to_the_truth_is_a_step_from_every_true_state():
  model, (states, actions) = build(Markov, hidden_sizes=(4,)), trajectories()
  predicted = model.predict_teacher_forced(states, actions)
  assert predicted.shape == (B, T, N)
  for t in range(T):
    expected, _ = model.step(states[:, t], actions[:, t], t)
    np.testing.assert_allclose(predicted[:, t], expected, rtol=1e-12)
  later, _ = model.step(states[:, 0], actions[:, 0], 1)
  assert not np.allclose(later, predicted[:, 0])  # time is an input


def test_a_gated_read_out_moves_the_state_towards_its_target():
  states, actions = trajectories()
  normalizer = Normalizer(N, HORIZON, dtype=tf.float64)
  normalizer.update(states)
  model = Transformer(normalizer, N, M, 6, 1, hidden_size=4, gated_read_out=True, dtype='float64')
  *gate, kernel, bias = model.get_layer('read_out').trainable_variables
  for variable in (gate[0], kernel):
    variable.assign(tf.zeros_like(variable))
  np.testing.assert_allclose(gate[1], -np.log(2))  # of two steps
  bias.assign([5.0, -7.0])
  left = (2 / 3) ** np.arange(1, T + 1)[:, None]  # of the way to the target
  target = normalizer.denormalize(tf.constant([5.0, -7.0], tf.float64))
  np.testing.assert_allclose(
      model(states[:, 0], actions), left * states[:, :1] + (1 - left) * target, rtol=1e-9)


def test_markov_adds_a_difference_to_the_state():
  model, (states, actions) = build(Markov, hidden_sizes=(4,)), trajectories()
  for variable in model.get_layer('difference').trainable_variables:
    variable.assign(tf.zeros_like(variable))
  np.testing.assert_allclose(
      model.predict_teacher_forced(states, actions), states[:, :-1], rtol=1e-12)
  np.testing.assert_allclose(
      model(states[:, 0], actions), tf.repeat(states[:, :1], T, 1), rtol=1e-12)


@pytest.mark.parametrize('scale_differences', [True, False])
def test_markovs_difference_counts_in_its_own_spread_or_in_the_states(scale_differences):
  tf.keras.utils.set_random_seed(0)
  seen = np.cumsum(np.random.default_rng(0).normal(MEAN, STD, (2, 50, N)), 1)
  normalizer = Normalizer(N, HORIZON, dtype=tf.float64)
  normalizer.update(tf.constant(seen))
  model = Markov(normalizer, N, M, scale_differences=scale_differences, **F64)
  difference = model.get_layer('difference')
  difference.kernel.assign(tf.zeros_like(difference.kernel))
  difference.bias.assign(tf.ones_like(difference.bias))
  states, actions = trajectories()
  unit = np.diff(seen, axis=1).reshape(-1, N).std(0) if scale_differences else (
      seen.reshape(-1, N).std(0))
  np.testing.assert_allclose(model.predict_teacher_forced(states, actions) - states[:, :-1],
                             np.broadcast_to(unit, [B, T, N]), rtol=1e-9)


@pytest.mark.parametrize(('make', 'memory'), [
    (lambda: build(Markov, hidden_sizes=(4,)), False),
    (lambda: history(lstm), True), (lambda: history(transformer), True)],
    ids=['Markov', 'HistoryLSTM', 'HistoryTransformer'])
@pytest.mark.parametrize('k', [0, 2, T])
def test_teacher_forcing_shows_each_true_state_to_the_later_predictions(make, memory, k):
  model, (states, actions) = make(), trajectories()
  moved = states + STD * tf.one_hot(k, T + 1, dtype=tf.float64)[:, None]
  before, after = (model.predict_teacher_forced(s, actions) for s in (states, moved))
  differs = np.any(np.abs(before - after) / STD > 1e-9, (0, 2))  # [T], of s_1 .. s_T
  np.testing.assert_array_equal(differs, [t >= k if memory else t == k for t in range(T)])


@pytest.mark.parametrize('core', [Memoryless, lstm, transformer])
def test_stopping_the_feedback_gradient_changes_no_prediction(core):
  states, actions = trajectories()
  flowing, stopped = (history(core, stop)(states[:, 0], actions) for stop in (False, True))
  np.testing.assert_array_equal(flowing, stopped)


def test_without_feedback_gradient_a_memoryless_core_forgets_earlier_actions():
  states, actions = trajectories()

  def jacobian(stop):
    model = history(Memoryless, stop)
    return action_jacobian(lambda a: model(states[:, 0], a), actions, 1)

  flowing, stopped = jacobian(False), jacobian(True)
  assert np.all(flowing[:, 0] != 0)  # a_0 reaches s_2 through the predicted s_1
  assert np.all(stopped[:, 0] == 0)
  np.testing.assert_allclose(stopped[:, 1], flowing[:, 1], rtol=1e-12)
  assert np.all(stopped[:, 1] != 0)


@pytest.mark.parametrize('core', [lstm, transformer])
def test_without_feedback_gradient_actions_act_through_their_pairs_alone(core):
  """The same by teacher forcing on the model's own predictions, held constant."""
  states, actions = trajectories()
  model, flowing = history(core, True), history(core, False)
  initial_state = states[:, 0]
  fed_back = tf.concat([initial_state[:, None], model(initial_state, actions)], 1)
  for row in (1, T - 1):
    stopped = action_jacobian(lambda a: model(initial_state, a), actions, row)
    expected = action_jacobian(lambda a: model.predict_teacher_forced(fed_back, a), actions, row)
    np.testing.assert_allclose(stopped, expected, rtol=1e-9, atol=1e-12)
  assert np.all(stopped[:, 0] != 0)  # the core remembers the pair of a_0
  whole = action_jacobian(lambda a: flowing(initial_state, a), actions, T - 1)
  assert not np.any(np.isclose(whole[:, 0], stopped[:, 0], rtol=1e-3))


@pytest.mark.parametrize('name', [
    'CancerTreatment', 'HIVTreatment', 'TimberHarvest', 'ToyCreditAssignment', 'OneBounce'])
def test_the_true_dynamics_simulate(name):
  system = SYSTEMS[name](HORIZON, dtype=tf.float64)
  model, generator = TrueDynamics(system), np.random.default_rng(0)
  actions = tf.constant(generator.uniform(-1, 1, (B, HORIZON, system.action_size)))
  initial_state = system.initial_state(B)
  states, _, expected_gradient = return_and_gradient(system, actions)
  with tf.GradientTape() as tape:
    tape.watch(actions)
    predicted = model(initial_state, actions)
    visited = tf.concat([initial_state[:, None], predicted[:, :-1]], 1)
    returns = tf.reduce_sum(system.reward(visited, actions, tf.range(HORIZON)), 1)
  np.testing.assert_allclose(predicted, states[:, 1:], rtol=1e-12)
  np.testing.assert_allclose(
      tape.gradient(returns, actions), expected_gradient, rtol=1e-9, atol=1e-12)
  assert not model.trainable_variables


def perturbed(name):
  """True dynamics, states near the initial one and actions."""
  system, generator = SYSTEMS[name](20, dtype=tf.float64), np.random.default_rng(0)
  start = system.initial_state(B)
  return (TrueDynamics(system), start * generator.normal(1, 0.1, start.shape),
          tf.constant(generator.uniform(-1, 1, (B, T, system.action_size))))


@pytest.mark.parametrize('name', ['HIVTreatment', 'InvasivePlant'])
def test_the_true_dynamics_take_sequences_of_any_length(name):
  model, state, actions = perturbed(name)
  whole = model(state, actions)
  for steps in (1, T - 1, 2):  # lengths differ between calls of one model
    np.testing.assert_allclose(model(state, actions[:, :steps]), whole[:, :steps], rtol=1e-12)
  later = model(whole[:, 0], actions[:, 1:])  # the dynamics of these do not change with time
  np.testing.assert_allclose(later, whole[:, 1:], rtol=1e-12)


def test_the_true_dynamics_compile_are_causal_and_have_the_right_gradient():
  model, state, actions = perturbed('InvasivePlant')

  def predict_and_differentiate(state, actions):
    return model(state, actions), action_jacobians(model, state, actions)

  predicted, jacobians = predict_and_differentiate(state, actions)
  compiled = tf.function(predict_and_differentiate, jit_compile=True)(state, actions)
  for actual, expected in zip(compiled, (predicted, jacobians), strict=True):
    np.testing.assert_allclose(
        actual, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
  sizes = np.abs(jacobians).max((0, 3, 4))  # [T, T]
  assert np.all(np.triu(sizes, 1) == 0), 'a future action reaches a past state'
  assert np.all(sizes[np.tril_indices(T)] > 0), 'an action does not reach a later state'
  step, direction = 1e-5, np.random.default_rng(1).normal(size=actions.shape)
  ahead, behind = (model(state, actions + sign * step * direction) for sign in (1, -1))
  np.testing.assert_allclose(
      np.einsum('btknm,bkm->btn', jacobians, direction), (ahead - behind) / (2 * step),
      rtol=1e-6, atol=1e-8 * np.abs(jacobians).max())


def test_the_true_dynamics_by_the_constructor_of_the_learned_models():
  system = SYSTEMS['HIVTreatment']
  model = make_true_dynamics(None, 3, 1, system=system, horizon=HORIZON)
  actions = tf.constant(np.random.default_rng(0).uniform(-1, 1, (B, HORIZON, 1)), tf.float32)
  expected, _ = simulate(system(HORIZON), actions)
  np.testing.assert_allclose(model(expected[:, 0], actions), expected[:, 1:], rtol=1e-6)


def known_reward(states, actions, t):
  """Far from mean 0 and spread 1, and different in each of its arguments; [B, T]."""
  z, time = (states - MEAN) / STD, tf.cast(t, tf.float64) / HORIZON
  return 1000 + 50 * (z[..., 0] * actions[..., 0] + tf.sin(z[..., 1]) + 2 * time)


def test_reward_model_learns_a_reward_in_its_units():
  model, t = build(RewardModel, hidden_sizes=(32, 32)), tf.range(HORIZON)
  states, actions = trajectories(HORIZON, batch=400)
  states, rewards = states[:, :-1], known_reward(states[:, :-1], actions, t)
  model.observe(rewards)
  optimizer = tf.keras.optimizers.Adam(1e-2, jit_compile=False)
  optimizer.build(model.trainable_variables)

  @tf.function
  def train(rows):
    with tf.GradientTape() as tape:
      loss = model.loss(*(tf.gather(x, rows) for x in (states, actions)), t,
                        tf.gather(rewards, rows))
    variables = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return loss

  generator = np.random.default_rng(0)
  for _ in range(400):
    train(tf.constant(generator.integers(0, 400, 64)))
  states, actions = trajectories(HORIZON, batch=100, seed=9)  # not seen before
  wanted = known_reward(states[:, :-1], actions, t)
  error = model(states[:, :-1], actions, t) - wanted
  assert np.sqrt(np.mean(error**2)) < 0.15 * np.std(wanted)


@pytest.mark.parametrize('scale', [True, False])
def test_the_loss_of_a_reward_model_is_in_units_of_the_spread(scale):
  model, t = build(RewardModel, enabled=scale, hidden_sizes=(4,)), tf.range(T)
  states, actions = trajectories()
  states, rewards = states[:, :-1], known_reward(states[:, :-1], actions, t)
  unscaled = model(states, actions, t)
  model.observe(rewards)
  predicted = model(states, actions, t)
  assert predicted.shape == (B, T)
  if scale:  # mean 0 and spread 1 until it has seen rewards
    np.testing.assert_allclose(predicted, np.mean(rewards) + np.std(rewards) * unscaled, rtol=1e-5)
  else:
    np.testing.assert_array_equal(predicted, unscaled)
  unit = np.std(rewards) if scale else 1.0
  np.testing.assert_allclose(model.loss(states, actions, t, rewards),
                             np.mean(((predicted - rewards) / unit) ** 2), rtol=1e-5)


def test_a_predicted_reward_stays_near_those_that_were_observed():
  normalizer = Normalizer(N, HORIZON, margin=0.5, dtype=tf.float64)
  model, (states, actions) = RewardModel(normalizer, N, M, (4,), dtype='float64'), trajectories()
  model.observe(tf.constant([-1.0, 0.5, 2.0], tf.float64))
  for bias, bound in ((1e6, 3.5), (-1e6, -2.5)):
    model.trainable_variables[-1].assign([bias])
    np.testing.assert_allclose(model(states[:, 0], actions[:, 0], 0), np.full(B, bound), rtol=1e-6)


def test_a_reward_model_is_differentiable_in_states_and_actions():
  model, t, step = build(RewardModel, hidden_sizes=(4,)), tf.range(T), 1e-6
  states, actions = trajectories()
  model.observe(known_reward(states[:, :-1], actions, t))
  arguments = [states[:, :-1], actions]
  with tf.GradientTape() as tape:
    tape.watch(arguments)
    total = tf.reduce_sum(model(*arguments, t))
  gradients = tape.gradient(total, arguments)
  for which, unit in enumerate((STD, np.ones(M))):
    direction = unit * np.random.default_rng(2).normal(size=arguments[which].shape)
    ends = []
    for move in (step, -step):
      moved = list(arguments)
      moved[which] += move * direction
      ends.append(tf.reduce_sum(model(*moved, t)))
    np.testing.assert_allclose(tf.reduce_sum(gradients[which] * direction),
                               (ends[0] - ends[1]) / (2 * step), rtol=1e-5)


@pytest.mark.parametrize('spread', [0.0, 1.0, 5.0])
def test_a_state_space_model_is_stable_whatever_its_weights(spread):
  model, generator = build(StateSpace, embedding_size=4, hidden_size=50), np.random.default_rng(0)
  for variable in model.trainable_variables:
    variable.assign_add(spread * generator.normal(size=variable.shape))
  for layer in model._stack:
    re, im = (part.numpy() for part in layer._rate())
    size = np.hypot(re, im)
    assert np.all(size < 1)
    assert np.max(size) > 0.9
    assert np.ptp(np.angle(re + 1j * im)) > 0.5  # they turn at different speeds
