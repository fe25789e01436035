"""The part that recurrent action-sequence models share: everything but the cell."""

import itertools
from collections.abc import Callable, Sequence

import tensorflow as tf

from asm_tf.errors import require_at_least, require_sizes
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.products import linear
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.unrolling import Carry, chunks

_CHUNK = 100  # steps


class RecurrentModel(SequenceModel):
  """Linear embedding of (action, time), recurrent layers, linear read-out of the state.

  The initial carry of every layer comes from a linear map of the initial state.
  """

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               make_layer: Callable[..., tf.keras.layers.Layer], embedding_size: int,
               hidden_sizes: Sequence[int], name: str, dtype: str):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time.
      state_size: n.
      action_size: m.
      make_layer: class of recurrent layer, such as `LSTMLayer`.
      embedding_size: width of the linear embedding of the inputs.
      hidden_sizes: u of each layer.
      name: of the model.
      dtype: 'float32' or 'float64'.
    """
    require_at_least(1, embedding_size=embedding_size)
    require_sizes(hidden_sizes=hidden_sizes)
    super().__init__(name=name, dtype=dtype)
    self._normalizer = normalizer
    self._embedding = tf.keras.layers.Dense(embedding_size, dtype=dtype, name='embedding')
    self._embedding.build([None, action_size + normalizer.time_size])
    self._stack = [
        make_layer(input_size, units, dtype=dtype, name=f'layer_{i}') for i, (input_size, units)
        in enumerate(zip((embedding_size, *hidden_sizes[:-1]), hidden_sizes, strict=True))]
    self.residual_sizes = tuple(size for layer in self._stack for size in layer.residual_sizes)
    carry_size = sum(layer.carry_size for layer in self._stack)
    self._start = tf.keras.layers.Dense(carry_size, dtype=dtype, name='start')
    self._read_out = tf.keras.layers.Dense(state_size, dtype=dtype, name='read_out')
    self(tf.zeros([1, state_size], dtype), tf.zeros([1, 1, action_size], dtype))

  def call(self, initial_state: tf.Tensor, actions: tf.Tensor, training: bool = False) -> tf.Tensor:
    return self._predict(initial_state, actions)

  def call_with_residuals(self, initial_state: tf.Tensor, actions: tf.Tensor,
                          residuals: Sequence[tf.Tensor]) -> tf.Tensor:
    return self._predict(initial_state, actions, residuals)

  def _predict(self, initial_state, actions, residuals=()):
    actions = tf.transpose(actions, [1, 0, 2])  # [T, B, m]
    carry, states = self.start(initial_state, actions.shape[0]), []
    for begin, end in chunks(actions.shape[0], _CHUNK):
      of_chunk = (residual[begin:end] for residual in residuals)
      x, z = None, self._embed(actions[begin:end], tf.range(begin, end)[:, None])
      for i, layer in enumerate(self._stack):
        if i > 0:
          z = self._project(i, x)
        of_layer = list(itertools.islice(of_chunk, len(layer.residual_sizes)))
        x, carry[i] = layer(z, *carry[i], residuals=of_layer)
      states.append(self._state(x))
    return tf.transpose(tf.concat(states, 0), [1, 0, 2])  # [B, T, n]

  def start(self, initial_state: tf.Tensor, horizon: int) -> Carry:
    carry = self._start(self._normalizer.normalize(initial_state))
    carry = tf.split(carry, [layer.carry_size for layer in self._stack], -1)
    return [layer.start(part) for layer, part in zip(self._stack, carry, strict=True)]

  def step(self, carry: Carry, action: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, Carry]:
    return self.step_with_residuals(carry, action, t)[:2]

  def step_with_residuals(self, carry: Carry, action: tf.Tensor,
                          t: tf.Tensor | int) -> tuple[tf.Tensor, Carry, list[tf.Tensor]]:
    z = self._embed(action, t)
    next_carry: Carry = []
    residuals = []
    for i, (layer, part) in enumerate(zip(self._stack, carry, strict=True)):
      if i > 0:
        z = self._project(i, next_carry[-1][0])
      part, of_layer = layer.step(z, *part)
      next_carry.append(part)
      residuals += of_layer
    return self._state(next_carry[-1][0]), next_carry, residuals

  def _embed(self, actions, t):
    """Input projections of the first layer.

    The embedding is linear and so is the projection after it: their product, a
    small matrix, is applied to the few inputs instead of one after the other.
    """
    first = self._stack[0]
    kernel = self._embedding.kernel @ first.kernel
    bias = tf.linalg.matvec(first.kernel, self._embedding.bias, transpose_a=True) + first.bias
    return _add_bias(tf.tensordot(self._normalizer.join(actions, t=t), kernel, 1), bias)

  def _project(self, i, x):
    """Input projections of layer i from the states x of the layer below it."""
    layer = self._stack[i]
    return _add_bias(linear(self._stack[i - 1].emit(x), layer.kernel),
                     tf.convert_to_tensor(layer.bias))

  def _state(self, x):
    return self._normalizer.denormalize(self._read_out(x))


@tf.custom_gradient
def _add_bias(x, bias):
  """x [..., u] + bias [u]; XLA on a CPU sums a gradient faster as a product with ones."""
  def gradient(dy):
    rows = tf.reshape(dy, [-1, bias.shape[0]])
    ones = tf.ones([2, rows.shape[0] or tf.shape(rows)[0]], dy.dtype)  # an export is of any B
    return dy, (ones @ rows)[0]

  return x + bias, gradient
