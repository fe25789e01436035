"""A diagonal state-space action-sequence model (paper's reference Gu et al., 2022).

Each layer is a linear recurrence with a diagonal complex matrix, as in the linear
recurrent unit (Orvieto et al., 2023, the diagonal form of S4), between norm and gate:

    x_t = lambda x_{t-1} + gamma B u_t,   y_t = Re(C x_t) + D u_t,   u_t = norm(e_t)
    e_t <- e_t + W gelu(y_t) * sigmoid(V gelu(y_t))

lambda = exp(exp(nu) (-1 + i omega)) keeps |lambda| from growing beyond 1. At the start the memories
exp(-nu) range from one step to a few horizons, gamma = sqrt(1 - |lambda|^2), and omega, in radians
per memory, is 0 for every second state (S4D-Real) and up to four turns for the rest (S4D-Lin: Gu et
al., 2022): what remembers long turns slowly, or it would average out the slow states that it is
there for. Nor can an optimiser's step turn a state far: if omega were an angle per step, Adam's
1e-3 would add up to half a radian over H = 500.
"""

import math

import numpy as np
import tensorflow as tf

from asm_tf.errors import require_at_least, require_between
from asm_tf.models.layer_norm import LayerNorm
from asm_tf.models.linear_recurrence import linear_recurrence, multiply
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.products import Dense
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.unrolling import Carry, chunks

_LONGEST_MEMORY = 4  # horizons
_LARGEST_PHASE = math.pi / 4  # radians per step
_LARGEST_TURN = 8 * math.pi  # radians per memory
_CHUNK = 200  # steps


class _Layer(tf.keras.layers.Layer):
  """Norm, recurrence and gate on a residual stream; time-major."""

  def __init__(self, size, state_size, horizon, **kwargs):
    super().__init__(**kwargs)
    self._norm = LayerNorm(dtype=self.dtype, name='norm')
    memory = np.geomspace(1, _LONGEST_MEMORY * horizon, state_size)  # steps
    self._log_decay = self._weight('log_decay', -np.log(memory))
    i = np.arange(state_size)
    turn = _LARGEST_TURN * (i * 0.618 % 1) * (i % 2)
    self._turn = self._weight('turn', np.minimum(turn, _LARGEST_PHASE * memory))
    self._log_gamma = self._weight('log_gamma', np.log(1 - np.exp(-2 / memory)) / 2)
    self._input = self._dense(2 * state_size, 'input', use_bias=False)
    self._output = self._dense(size, 'output', use_bias=False)
    self._skip = self._weight('skip', np.ones(size))
    self._gate = self._dense(2 * size, 'gate')

  def call(self, e, x0):
    """e [T, B, size], x0 [B, 2 state_size] -> [T, B, size], and x at the end."""
    u, v_re, v_im = self._drive(e)
    x = tf.concat(linear_recurrence(*self._rate(), v_re, v_im, *tf.split(x0, 2, -1)), -1)
    return self._emit(e, u, x), x[-1]

  def step(self, e, x):
    """e [B, size], x [B, 2 state_size] -> [B, size] and x."""
    u, v_re, v_im = self._drive(e)
    re, im = multiply(*self._rate(), *tf.split(x, 2, -1))
    x = tf.concat([re + v_re, im + v_im], -1)
    return self._emit(e, u, x), x

  def _rate(self):
    """lambda, real and imaginary part."""
    decay = tf.exp(self._log_decay)
    size, phase = tf.exp(-decay), decay * self._turn
    return size * tf.cos(phase), size * tf.sin(phase)

  def _drive(self, e):
    u = self._norm(e)
    v_re, v_im = tf.split(self._input(u), 2, -1)
    gamma = tf.exp(self._log_gamma)
    return u, gamma * v_re, gamma * v_im

  def _emit(self, e, u, x):
    y = tf.nn.gelu(self._output(x) + self._skip * u, approximate=True)
    value, gate = tf.split(self._gate(y), 2, -1)
    return e + value * tf.sigmoid(gate)

  def _weight(self, name, value):
    return self.add_weight(name=name, shape=value.shape,
                           initializer=tf.keras.initializers.Constant(value))

  def _dense(self, size, name, use_bias=True):
    return Dense(size, use_bias=use_bias, dtype=self.dtype, name=name)


class StateSpace(SequenceModel):
  """Layers of diagonal recurrence between a linear embedding and a linear read-out.

  The state of every layer starts as a linear map of the initial state.
  """

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               embedding_size: int = 72, num_layers: int = 2, hidden_size: int = 64,
               dtype: str = 'float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time; its horizon sets the memories.
      state_size: n.
      action_size: m.
      embedding_size: width of the residual stream.
      num_layers: number of recurrences.
      hidden_size: complex states per layer.
      dtype: 'float32' or 'float64'.
    """
    require_at_least(1, embedding_size=embedding_size, hidden_size=hidden_size)
    require_between(1, 1000, num_layers=num_layers)
    super().__init__(name='state_space', dtype=dtype)
    self._normalizer = normalizer
    self._embedding = tf.keras.layers.Dense(embedding_size, dtype=dtype, name='embedding')
    self._stack = [_Layer(embedding_size, hidden_size, normalizer.horizon, dtype=dtype,
                          name=f'layer_{i}') for i in range(num_layers)]
    self._start = tf.keras.layers.Dense(2 * hidden_size * num_layers, dtype=dtype, name='start')
    self._norm = LayerNorm(dtype=dtype, name='norm')
    self._read_out = tf.keras.layers.Dense(state_size, dtype=dtype, name='read_out')
    self(tf.zeros([1, state_size], dtype), tf.zeros([1, 1, action_size], dtype))

  def call(self, initial_state: tf.Tensor, actions: tf.Tensor, training: bool = False) -> tf.Tensor:
    actions = tf.transpose(actions, [1, 0, 2])  # [T, B, m]
    steps = actions.shape[0]
    carry, states = self.start(initial_state, steps), []
    for begin, end in chunks(steps, _CHUNK):
      e = self._embed(actions[begin:end], tf.range(begin, end)[:, None])
      for i, layer in enumerate(self._stack):
        e, carry[i] = layer(e, carry[i])
      states.append(self._state(e))
    return tf.transpose(tf.concat(states, 0), [1, 0, 2])  # [B, T, n]

  def start(self, initial_state: tf.Tensor, horizon: int) -> Carry:
    carry = self._start(self._normalizer.normalize(initial_state))
    return tf.split(carry, len(self._stack), -1)

  def step(self, carry: Carry, action: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, Carry]:
    e, next_carry = self._embed(action, t), []
    for layer, x in zip(self._stack, carry, strict=True):
      e, x = layer.step(e, x)
      next_carry.append(x)
    return self._state(e), next_carry

  def _embed(self, actions, t):
    return self._embedding(self._normalizer.join(actions, t=t))

  def _state(self, e):
    return self._normalizer.denormalize(self._read_out(self._norm(e)))
