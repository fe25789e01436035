"""The self-attention action-sequence model of the theory (paper, Equation 3).

    s_t = softmax(x_{t-1} W_q^T (x_{0:t-1} W_k^T)^T) x_{0:t-1} W_v^T

One layer and nothing else: no residual, no scaling, no bias. The token x_k holds
the action a_k and, as every world model here is given them, the time features of
k and the initial state, which the paper leaves out of its notation.
"""

import tensorflow as tf

from asm_tf.errors import require_at_least
from asm_tf.models.attention import (
  batch_size_of,
  cache_block,
  causal_attention,
  decode_attention,
  empty_cache,
  grow_cache,
)
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.unrolling import Carry


class SelfAttention(SequenceModel):
  """Equation 3 on tokens of (initial state, action, time)."""

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int, key_size: int = 64,
               dtype: str = 'float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time.
      state_size: n, the width of the values.
      action_size: m.
      key_size: d_z, the width of queries and keys.
      dtype: 'float32' or 'float64'.
    """
    require_at_least(1, key_size=key_size)
    super().__init__(name='self_attention', dtype=dtype)
    self._normalizer = normalizer
    self._query, self._key, self._value = (
        tf.keras.layers.Dense(size, use_bias=False, dtype=dtype, name=name)
        for name, size in (('query', key_size), ('key', key_size), ('value', state_size)))
    self(tf.zeros([1, state_size], dtype), tf.zeros([1, 1, action_size], dtype))

  def call(self, initial_state: tf.Tensor, actions: tf.Tensor, training: bool = False) -> tf.Tensor:
    tokens = self._tokens(initial_state[:, None], actions, tf.range(actions.shape[1]))
    queries, keys, values = (  # one head: [B, 1, T, d]
        layer(tokens)[:, None] for layer in (self._query, self._key, self._value))
    return self._normalizer.denormalize(causal_attention(queries, keys, values)[:, 0])

  def start(self, initial_state: tf.Tensor, horizon: int) -> Carry:
    return initial_state, empty_cache(batch_size_of(initial_state), 1, self._key.units,
                                      self._value.units, horizon, initial_state.dtype)

  def grow_cache(self, carry: Carry, steps: int) -> Carry:
    initial_state, cache = carry
    return initial_state, grow_cache(cache, steps)

  def cache_block(self, horizon: int) -> int:
    return cache_block(horizon)

  def step(self, carry: Carry, action: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, Carry]:
    initial_state, cache = carry
    token = self._tokens(initial_state, action, t)
    query, key, value = (  # one head: [B, 1, d]
        layer(token)[:, None] for layer in (self._query, self._key, self._value))
    state, cache = decode_attention(query, key, value, cache, t)
    return self._normalizer.denormalize(state[:, 0]), (initial_state, cache)

  def _tokens(self, initial_state, actions, t):
    """[..., n + m + time_size]."""
    return self._normalizer.join(self._normalizer.normalize(initial_state), actions, t=t)
