"""Mixed precision rounds the operands of products, and nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.agents.execution import Execution
from asm_tf.errors import UserError
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.products import Dense, linear, product, set_product_dtype
from asm_tf.models.rnn import RNN
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer


@pytest.fixture
def in_bfloat16():
  set_product_dtype('bfloat16')
  yield
  set_product_dtype('float32')


def rounded(x):
  return tf.cast(tf.cast(x, tf.bfloat16), tf.float32).numpy()


def test_operands_are_rounded_and_sums_are_not(in_bfloat16):
  a, b = tf.random.stateless_normal([2, 4, 8], [0, 0]), tf.random.stateless_normal([8, 3], [0, 1])
  exact = rounded(a) @ rounded(b)
  for value in (product(a, tf.tile(b[None], [2, 1, 1])), linear(a, b)):
    assert value.dtype == tf.float32
    # The result itself is rounded to eight bits, too.
    np.testing.assert_allclose(value, exact, rtol=2**-7, atol=1e-6)
    assert np.max(np.abs(value - a.numpy() @ b.numpy())) > 1e-4
  np.testing.assert_allclose(product(a[0], a[0], transpose_b=True), rounded(a[0]) @ rounded(a[0]).T,
                             rtol=2**-7, atol=1e-6)


def test_a_layer_is_keras_own_without_it():
  x = tf.random.stateless_normal([2, 5, 4], [0, 0])
  ours, theirs = Dense(3, 'relu'), tf.keras.layers.Dense(3, 'relu')
  ours.build([None, 4])
  theirs.build([None, 4])
  theirs.set_weights(ours.get_weights())
  np.testing.assert_array_equal(ours(x), theirs(x))


@pytest.mark.parametrize('model', [LSTM, RNN, Transformer, StateSpace, Markov])
def test_models_predict_nearly_the_same(model):
  tf.keras.utils.set_random_seed(0)
  built = model(Normalizer(2, 6), 2, 1)
  start, actions = tf.ones([4, 2]), tf.random.stateless_uniform([4, 6, 1], [0, 0], -1, 1)

  def states_and_gradient():
    with tf.GradientTape() as tape:
      tape.watch(actions)
      states = built(start, actions)
    return states.numpy(), tape.gradient(states, actions).numpy()

  exact = states_and_gradient()
  set_product_dtype('bfloat16')
  try:
    near = states_and_gradient()
  finally:
    set_product_dtype('float32')
  assert near[0].dtype == near[1].dtype == np.float32
  difference = np.max(np.abs(near[0] - exact[0])) / np.max(np.abs(exact[0]))
  assert 1e-5 < difference < 0.03
  one, other = near[1].ravel(), exact[1].ravel()  # a ReLU near its kink may flip
  assert one @ other > 0.99 * np.linalg.norm(one) * np.linalg.norm(other)
  assert np.mean(one != other) > 0.5


def test_another_precision_is_refused():
  with pytest.raises(UserError, match="product_dtype is 'float16': give one of float32, bfloat16"):
    set_product_dtype('float16')


def test_an_execution_sets_it_for_what_is_traced_after():
  a = tf.random.stateless_normal([4, 8], [0, 0])
  Execution(product_dtype='bfloat16')
  try:
    np.testing.assert_allclose(product(a, a, transpose_b=True), rounded(a) @ rounded(a).T,
                               rtol=2**-7, atol=1e-6)
  finally:
    Execution()
  np.testing.assert_array_equal(product(a, a, transpose_b=True), tf.matmul(a, a, transpose_b=True))
