"""What each world model computes, against a plain numpy re-implementation (float64).

The references are written from the paper and the docstrings, one step, one head and
one position at a time; weights, biases included, and inputs are random.
"""

import numpy as np
import pytest
import tensorflow as tf

from asm_tf.models.layer_norm import LayerNorm
from asm_tf.models.lstm import LSTM
from asm_tf.models.markov import Markov
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.rnn import RNN
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer

B, T, N, M, HORIZON = 2, 6, 2, 3, 7
SEEN = np.random.default_rng(9).normal([3.0, -50.0], [2.0, 100.0], (30, N))
MEAN, STD = np.mean(SEEN, 0), np.std(SEEN, 0)  # what the normaliser should make of them


def build(make, *sizes, **settings):
  """A model with random weights whose normaliser has seen SEEN."""
  tf.keras.utils.set_random_seed(0)
  generator = np.random.default_rng(0)
  normalizer = Normalizer(N, HORIZON, dtype=tf.float64)
  normalizer.update(tf.constant(SEEN))
  model = make(normalizer, N, M, *sizes, **settings, dtype='float64')
  for variable in model.trainable_variables:
    variable.assign_add(0.5 * generator.normal(size=variable.shape))
  return model


def assert_equals(model, reference):
  """`reference`: (normalised s_0 [n], actions [T, m]) -> normalised s_1 .. s_T [T, n]."""
  generator = np.random.default_rng(1)
  initial_state = generator.normal(MEAN, STD, (B, N))
  actions = generator.uniform(-1, 1, (B, T, M))
  predicted = (model(tf.constant(initial_state), tf.constant(actions)) - MEAN) / STD
  expected = [reference((s - MEAN) / STD, a) for s, a in zip(initial_state, actions, strict=True)]
  assert np.min(np.std(expected, 1)) > 0.01  # they change with time
  np.testing.assert_allclose(predicted, expected, rtol=1e-10, atol=1e-11)


def time_features(t):
  angles = 2.0 ** np.arange(5) * np.pi * t / HORIZON
  return np.concatenate([[2 * t / HORIZON - 1], np.sin(angles), np.cos(angles)])


def linear(layer, x):
  """A Keras Dense layer."""
  x = x @ layer.kernel.numpy()
  return x + layer.bias.numpy() if layer.use_bias else x


def normed(layer, x):
  """A `LayerNorm`."""
  gain, offset = (variable.numpy() for variable in layer.trainable_variables)
  return gain * (x - np.mean(x)) / np.sqrt(np.var(x) + 1e-5) + offset


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def gelu(x):
  factor = np.float64(np.float32(0.044715))  # so TensorFlow holds it, whatever the dtype
  return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + factor * x**3)))


def softmax(x):
  return np.exp(x) / np.sum(np.exp(x))


def token(initial_state, action, t):
  return np.concatenate([initial_state, action, time_features(t)])


def test_self_attention_is_equation_3():
  model = build(SelfAttention, 4)
  w_q, w_k, w_v = (layer.kernel.numpy().T for layer in (model._query, model._key, model._value))
  assert len(model.trainable_variables) == 3  # no bias

  def equation_3(initial_state, actions):
    x = np.array([token(initial_state, a, t) for t, a in enumerate(actions)])
    states = []
    for t in range(1, T + 1):
      query = x[t - 1] @ w_q.T
      states.append(softmax(query @ (x[:t] @ w_k.T).T) @ x[:t] @ w_v.T)
    return states

  assert_equals(model, equation_3)


def inputs_of(model, actions):
  """What reaches the first layer: W_a a_t and what time and the biases add to it."""
  embedded = [linear(model._embedding, np.concatenate([a, time_features(t)]))
              for t, a in enumerate(actions)]
  return np.array(embedded) @ model._stack[0].kernel.numpy() + model._stack[0].bias.numpy()


def test_rnn_of_one_layer_is_equation_2():
  model = build(RNN, 4, (5,))
  w_x = model._stack[0].recurrent_kernel.numpy().T

  def equation_2(initial_state, actions):
    x, states = linear(model._start, initial_state), []
    for z in inputs_of(model, actions):
      x = np.tanh(w_x @ x) + z
      states.append(linear(model._read_out, x))
    return states

  assert_equals(model, equation_2)


def test_rnn_of_two_layers_passes_up_the_tanh_of_its_states():
  model = build(RNN, 4, (5, 3))
  lower, upper = model._stack
  w_x, v_x = (layer.recurrent_kernel.numpy().T for layer in (lower, upper))

  def stacked(initial_state, actions):
    x, y = np.split(linear(model._start, initial_state), [5])
    states = []
    for z in inputs_of(model, actions):
      x = np.tanh(w_x @ x) + z
      y = np.tanh(v_x @ y) + upper.kernel.numpy().T @ np.tanh(x) + upper.bias.numpy()
      states.append(linear(model._read_out, y))
    return states

  assert_equals(model, stacked)


def test_lstm_of_two_layers_is_the_textbooks():
  model = build(LSTM, 4, (5, 3))

  def cell(layer, z, h, c):
    """z: the input's part of the gates."""
    i, f, g, o = np.split(z + layer.recurrent_kernel.numpy().T @ h, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c

  def stacked(initial_state, actions):
    lower, upper = model._stack
    h, c, k, d = np.split(linear(model._start, initial_state), [5, 10, 13])
    h, k, states = np.tanh(h), np.tanh(k), []
    for z in inputs_of(model, actions):
      h, c = cell(lower, z, h, c)
      k, d = cell(upper, h @ upper.kernel.numpy() + upper.bias.numpy(), k, d)
      states.append(linear(model._read_out, k))
    return states

  assert_equals(model, stacked)


def transformer_block(block, x, heads):
  """Pre-norm attention and MLP on a residual stream; x [T, size]."""
  size = x.shape[1]
  d = size // heads
  qkv = np.array([linear(block._qkv, normed(block._attention_norm, row)) for row in x])
  queries, keys, values = np.split(qkv, 3, 1)  # [T, size]
  following = []
  for t in range(len(x)):
    attended = []
    for head in range(heads):
      mine = slice(head * d, (head + 1) * d)
      scores = keys[:t + 1, mine] @ queries[t, mine] / np.sqrt(d)
      attended.append(softmax(scores) @ values[:t + 1, mine])
    row = x[t] + linear(block._attention_out, np.concatenate(attended))
    hidden = gelu(linear(block._mlp_in, normed(block._mlp_norm, row)))
    following.append(row + linear(block._mlp_out, hidden))
  return np.array(following)


@pytest.mark.parametrize('num_layers', [1, 2])
def test_transformer_is_gpt_2s(num_layers):
  model = build(Transformer, 6, num_layers, 3, 5)

  def gpt_2(initial_state, actions):
    x = np.array([linear(model._embedding, token(initial_state, a, t)) + model._positions[t]
                  for t, a in enumerate(actions)])
    for block in model._stack._blocks:
      x = transformer_block(block, x, heads=3)
    return [linear(model._read_out, normed(model._stack._norm, row)) for row in x]

  assert_equals(model, gpt_2)


def test_state_space_is_its_complex_recurrence():
  model = build(StateSpace, 4, 2, 3)

  def layer_by_layer(initial_state, actions):
    e = [linear(model._embedding, np.concatenate([a, time_features(t)]))
         for t, a in enumerate(actions)]
    starts = np.split(linear(model._start, initial_state), 2)
    for layer, start in zip(model._stack, starts, strict=True):
      nu, omega, gamma = layer._log_decay.numpy(), layer._turn.numpy(), layer._log_gamma.numpy()
      rate, b, c = np.exp(np.exp(nu) * (1j * omega - 1)), layer._input.kernel, layer._output.kernel
      b = b[:, :3].numpy() + 1j * b[:, 3:].numpy()
      c = c[:3].numpy() - 1j * c[3:].numpy()  # of Re(C x)
      w, v = np.split(layer._gate.kernel.numpy(), 2, 1)
      w_bias, v_bias = np.split(layer._gate.bias.numpy(), 2)
      x = start[:3] + 1j * start[3:]
      assert x.dtype == np.complex128
      for t in range(T):
        u = normed(layer._norm, e[t])
        x = rate * x + np.exp(gamma) * (u @ b)
        y = gelu(np.real(x @ c) + layer._skip.numpy() * u)
        e[t] = e[t] + (y @ w + w_bias) * sigmoid(y @ v + v_bias)
    return [linear(model._read_out, normed(model._norm, row)) for row in e]

  assert_equals(model, layer_by_layer)


def test_state_space_starts_with_memories_from_a_step_to_some_horizons():
  model = StateSpace(Normalizer(N, HORIZON, dtype=tf.float64), N, M, hidden_size=9,
                     dtype='float64')
  for layer in model._stack:
    re, im = layer._rate()
    size = np.hypot(re, im)
    np.testing.assert_allclose(np.exp(layer._log_gamma), np.sqrt(1 - size**2), rtol=1e-10)
    np.testing.assert_allclose((-1 / np.log(size))[[0, -1]], [1, 4 * HORIZON], rtol=1e-10)


def test_an_optimisers_step_turns_what_remembers_long_by_little_over_the_horizon():
  model = StateSpace(Normalizer(N, 500), N, M)
  layer = model._stack[0]
  before = np.angle(tf.complex(*layer._rate()))
  layer._turn.assign_add(np.full(layer._turn.shape, 1e-3, np.float32))
  turned = np.angle(tf.complex(*layer._rate())) - before
  memory = np.exp(-layer._log_decay)
  assert np.all(np.abs(turned) * np.minimum(memory, 500) < 1.1e-3)


def test_markov_adds_a_relu_network_to_the_state():
  model = build(Markov, (4, 5), scale_differences=False)

  def equation_1(state, actions):
    states = []
    for t, action in enumerate(actions):
      x = np.concatenate([state, action, time_features(t)])
      for layer in model._hidden:
        x = np.maximum(linear(layer, x), 0)
      state = state + linear(model._difference, x)
      states.append(state)
    return states

  assert_equals(model, equation_1)


@pytest.mark.parametrize('spread', [1e-3, 1.0, 1e3])  # of the inputs: 1e-3 is below the epsilon
def test_layer_norm_is_numpys(spread):
  layer, generator = LayerNorm(dtype='float64'), np.random.default_rng(0)
  layer(tf.zeros([1, 4], tf.float64))  # builds it
  for variable in layer.trainable_variables:
    variable.assign_add(generator.normal(size=4))
  x = spread * generator.normal(2, 1, (2, 3, 4))
  expected = [[normed(layer, row) for row in rows] for rows in x]
  np.testing.assert_allclose(layer(tf.constant(x)), expected, rtol=1e-10, atol=1e-12)
