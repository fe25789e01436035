"""Attention against a plain masked softmax; what the transformer adds to it."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.errors import UserError
from asm_tf.models.attention import causal_attention, decode_attention, empty_cache, grow_cache
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.transformer import Transformer
from asm_tf.models.transformer_stack import TransformerStack
from tests.support.second_derivatives import require_second_derivative

B, HEADS, D, E = 2, 2, 3, 4
N, M, HORIZON = 2, 1, 70


def inputs(steps, seed=0):
  """Queries, keys and values, float64."""
  generator = np.random.default_rng(seed)
  return [tf.constant(generator.normal(size=(B, HEADS, steps, size))) for size in (D, D, E)]


def unblocked(queries, keys, values):
  """The whole matrix of scores, its upper half masked."""
  steps = queries.shape[2]
  scores = tf.einsum('bhqd,bhkd->bhqk', queries, keys)
  mask = np.tril(np.ones([steps, steps], bool))
  return tf.nn.softmax(tf.where(mask, scores, -np.inf)) @ values


def decode(queries, keys, values):
  """One query at a time, against a cache extended every third step and full of rubbish."""
  steps, outputs = queries.shape[2], []
  cache = tuple(part + 99 for part in empty_cache(B, HEADS, D, E, 3, tf.float64))
  for t in range(steps):
    if t > 0 and t % 3 == 0:
      cache = tuple(grow_cache(cache, 3)[:2]) + cache[2:]  # full of rubbish
    output, cache = decode_attention(
        queries[:, :, t], keys[:, :, t], values[:, :, t], cache, t)
    outputs.append(output)
  return tf.stack(outputs, 2)


def value_and_gradients(attend, arguments):
  """And gradients of a sum that weighs every output differently."""
  with tf.GradientTape() as tape:
    tape.watch(arguments)
    outputs = attend(*arguments)
    weights = np.random.default_rng(1).normal(size=outputs.shape)
    objective = tf.reduce_sum(outputs * weights)
  return outputs, tape.gradient(objective, arguments)


def transformer(weights_seed=0, **arguments):
  """A small one with random weights, biases included, and scales that are not 1."""
  tf.keras.utils.set_random_seed(weights_seed)
  generator = np.random.default_rng(weights_seed)
  normalizer = Normalizer(N, HORIZON, dtype=tf.float64)
  normalizer.update(tf.constant(generator.normal(3, 10, (50, N))))
  settings = {'embedding_size': 6, 'num_layers': 1, 'num_heads': 3, 'hidden_size': 8,
              'dtype': 'float64'}
  model = Transformer(normalizer, N, M, **(settings | arguments))
  for variable in model.trainable_variables:
    variable.assign_add(0.3 * generator.normal(size=variable.shape))
  return model


def trajectories(steps, batch=B, seed=1):
  generator = np.random.default_rng(seed)
  return (tf.constant(generator.normal(3, 10, (batch, steps + 1, N))),
          tf.constant(generator.uniform(-1, 1, (batch, steps, M))))


@pytest.mark.parametrize('steps', [1, 63, 64, 65, 130])  # a block has 64
def test_equals_a_masked_softmax_in_numpy(steps):
  arguments = inputs(steps)
  queries, keys, values = (part.numpy() for part in arguments)
  expected = np.zeros([B, HEADS, steps, E])
  for b, head, t in np.ndindex(B, HEADS, steps):
    weights = np.exp(keys[b, head, :t + 1] @ queries[b, head, t])
    expected[b, head, t] = weights @ values[b, head, :t + 1] / np.sum(weights)
  np.testing.assert_allclose(causal_attention(*arguments), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(('steps', 'other'), [
    (63, unblocked), (64, unblocked), (65, unblocked), (130, unblocked), (66, decode)])
def test_value_and_gradients_equal_another_route(steps, other):
  arguments = inputs(steps)
  actual, gradients = value_and_gradients(causal_attention, arguments)
  expected, expected_gradients = value_and_gradients(other, arguments)
  np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)
  for name, gradient, wanted in zip(
      ('queries', 'keys', 'values'), gradients, expected_gradients, strict=True):
    np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize('which', range(3))
@pytest.mark.parametrize('in_graph', [False, True])
def test_second_derivatives_equal_differences_of_the_gradient(which, in_graph):
  arguments = inputs(66)
  direction = tf.constant(np.random.default_rng(3).normal(size=arguments[which].shape))

  def slope(x):
    """Along `direction`, of an objective that is not linear in the outputs."""
    with tf.GradientTape() as tape:
      tape.watch(x)
      outputs = causal_attention(*arguments[:which], x, *arguments[which + 1:])
      objective = tf.reduce_sum(outputs**3)
    return tf.reduce_sum(tape.gradient(objective, x) * direction)

  require_second_derivative(slope, arguments[which], direction, 1e-5, in_graph)


@pytest.mark.parametrize('attend', [causal_attention, decode])
def test_large_scores_do_not_overflow(attend):
  queries, keys, values = inputs(3)
  np.testing.assert_allclose(
      attend(1e4 * queries, 1e4 * keys, values), unblocked(1e4 * queries, 1e4 * keys, values),
      rtol=1e-9)


@pytest.mark.parametrize('steps', [5, 66])
def test_attention_maps_are_causal_weights(steps):
  states, actions = trajectories(steps)
  maps = transformer(num_layers=2).attention_maps(states[:, 0], actions)
  assert maps.shape == (2, B, 3, steps, steps)
  np.testing.assert_allclose(tf.reduce_sum(maps, -1), np.ones([2, B, 3, steps]))
  assert np.all(maps >= 0)
  assert np.all(np.triu(maps, 1) == 0)
  assert np.ptp(maps[..., -1, :]) > 1e-3  # they do not look at everything alike


def test_attention_maps_are_what_the_layers_mix_by():
  """Each layer gives the same when its values are mixed by its map."""
  model, (states, actions) = transformer(num_layers=2), trajectories(5)
  maps = model.attention_maps(states[:, 0], actions)
  x = model._sequence(states[:, 0], actions)
  for weights, block in zip(tf.unstack(maps), model._stack._blocks, strict=True):
    mixed = weights @ block._project(x)[2]  # [B, heads, T, d]
    mixed = block._add_branches(x, tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), x.shape), False)
    x = block(x)
    np.testing.assert_allclose(mixed, x, rtol=1e-10)


def test_dropout_is_off_outside_training():
  model, arguments = transformer(dropout=0.3), trajectories(5)
  expected = transformer(dropout=0.0).predict_teacher_forced(*arguments)
  for predicted in (model.predict_teacher_forced(*arguments, training=False),
                    model.predict_teacher_forced(*arguments),
                    model(arguments[0][:, 0], arguments[1])):
    np.testing.assert_array_equal(predicted, expected)


@pytest.mark.parametrize('in_graph', [False, True])
def test_dropout_draws_anew_in_training(in_graph):
  model, arguments = transformer(dropout=0.3), trajectories(5)
  expected = model.predict_teacher_forced(*arguments)

  def predict():
    return model.predict_teacher_forced(*arguments, training=True)

  predict = tf.function(predict) if in_graph else predict
  first, second = predict(), predict()
  assert np.all(first != second)
  assert np.all(first != expected)


def test_without_a_rate_training_changes_nothing():
  model, arguments = transformer(dropout=0.0), trajectories(5)
  np.testing.assert_array_equal(model.predict_teacher_forced(*arguments, training=True),
                                model.predict_teacher_forced(*arguments))


@pytest.mark.parametrize('asked', [0.3, 0.9999])
def test_dropout_drops_its_rate_and_keeps_the_expectation(asked):
  rate, shape = min(round(asked * 256), 255) / 256, [400, 500]
  dropout = TransformerStack(6, 1, 3, 8, asked)._dropout
  x = dropout(tf.fill(shape, 2.0), True).numpy()
  error = np.sqrt(rate / (1 - rate) / x.size)  # of the mean of entries of mean 1
  np.testing.assert_allclose(np.mean(x) / 2, 1, atol=5 * error)
  np.testing.assert_allclose(np.mean(x == 0), rate, atol=5 * error)
  np.testing.assert_allclose(x[x != 0], 2 / (1 - rate), rtol=1e-6)


def test_a_checkpoint_holds_the_generator_of_the_dropout(tmp_path):
  model, arguments = transformer(dropout=0.3), trajectories(5)
  model.predict_teacher_forced(*arguments, training=True)
  path = tf.train.Checkpoint(model=model).save(str(tmp_path / 'model'))
  draws = [model.predict_teacher_forced(*arguments, training=True) for _ in range(2)]
  fresh = transformer(weights_seed=5, seed=5, dropout=0.3)
  for restored in (model, fresh):  # to the same object, and to one of a new process
    tf.train.Checkpoint(model=restored).restore(path).assert_consumed()
    for draw in draws:
      np.testing.assert_array_equal(
          restored.predict_teacher_forced(*arguments, training=True), draw)


def test_the_seed_fixes_the_dropout():
  arguments = trajectories(5)
  first, same, other = (
      transformer(dropout=0.3, seed=seed).predict_teacher_forced(*arguments, training=True)
      for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, same)
  assert np.all(first != other)


def test_more_actions_than_the_horizon_are_refused():
  model = transformer()
  states, actions = trajectories(HORIZON + 1)
  assert model(states[:, 0], actions[:, :HORIZON]).shape == (B, HORIZON, N)
  for predict in (model, model.attention_maps, lambda s, a: model.start(s, a.shape[1])):
    with pytest.raises(ValueError, match='71 actions for a transformer built for .* 70'):
      predict(states[:, 0], actions)


@pytest.mark.parametrize(('change', 'message'), [
    ({'embedding_size': 7}, 'embedding_size is 7 and num_heads 3'),
    ({'embedding_size': 0}, 'embedding_size is 0'),
    ({'num_heads': 0}, 'num_heads is 0'),
    ({'num_layers': 0}, 'num_layers is 0'),
    ({'hidden_size': 2.5}, 'hidden_size is 2.5'),
    ({'dropout': 1}, 'dropout is 1'),
    ({'dropout': -0.1}, 'dropout is -0.1'),
])
def test_sizes_that_do_not_fit_are_named(change, message):
  with pytest.raises(UserError, match=message):
    transformer(**change)


def test_self_attention_names_a_bad_size():
  with pytest.raises(UserError, match='key_size is 0'):
    SelfAttention(Normalizer(N, HORIZON), N, M, key_size=0)
