"""The transformer action-sequence model: GPT-2's architecture (paper, Appendix E.1)."""

import tensorflow as tf

from asm_tf.errors import require_at_least
from asm_tf.models.attention import batch_size_of, cache_block
from asm_tf.models.gated_read_out import GatedReadOut
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.transformer_stack import TransformerStack
from asm_tf.models.unrolling import Carry

# The activations of so many steps fit the cache of a CPU core.
_STEPS_AT_ONCE = 2000
_MEMORY = 0.1  # of a gated read-out at the start, in units of H


class Transformer(SequenceModel):
  """Token t is a linear map of (initial state, action, time), plus a learned vector for t."""

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               embedding_size: int = 72, num_layers: int = 2, num_heads: int = 3,
               hidden_size: int = 64, dropout: float = 0.0, gated_read_out: bool = False,
               seed: int | None = None, dtype: str = 'float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time; its horizon bounds T.
      state_size: n.
      action_size: m.
      embedding_size: width of the tokens.
      num_layers: see `TransformerStack`.
      num_heads: see `TransformerStack`.
      hidden_size: see `TransformerStack`.
      dropout: see `TransformerStack`.
      gated_read_out: True reads states out by a `GatedReadOut`, False by a linear map (the paper).
      seed: see `TransformerStack`.
      dtype: 'float32' or 'float64'.
    """
    require_at_least(1, embedding_size=embedding_size)
    super().__init__(name='transformer', dtype=dtype)
    self._normalizer = normalizer
    self._embedding = tf.keras.layers.Dense(embedding_size, dtype=dtype, name='embedding')
    self._positions = self.add_weight(
        name='positions', shape=[normalizer.horizon, embedding_size], dtype=dtype,
        initializer=tf.keras.initializers.RandomNormal(stddev=0.02))
    self._stack = TransformerStack(embedding_size, num_layers, num_heads, hidden_size, dropout,
                                   seed, dtype=dtype, name='stack')
    self._is_gated = gated_read_out
    self._read_out = (
        GatedReadOut(state_size, max(2, _MEMORY * normalizer.horizon), name='read_out', dtype=dtype)
        if gated_read_out else tf.keras.layers.Dense(state_size, name='read_out', dtype=dtype))
    self(tf.zeros([1, state_size], dtype), tf.zeros([1, 1, action_size], dtype))

  def call(self, initial_state: tf.Tensor, actions: tf.Tensor, training: bool = False) -> tf.Tensor:
    x = self._stack(self._sequence(initial_state, actions), training=training)
    z = (self._read_out(x, self._normalizer.normalize(initial_state)) if self._is_gated else
         self._read_out(x))
    return self._normalizer.denormalize(z)

  def microbatch_size(self, horizon: int) -> int:
    return max(1, _STEPS_AT_ONCE // horizon)

  def start(self, initial_state: tf.Tensor, horizon: int) -> Carry:
    self._require_positions(horizon)
    caches = self._stack.start(batch_size_of(initial_state), horizon)
    return initial_state, self._normalizer.normalize(initial_state), caches

  def grow_cache(self, carry: Carry, steps: int) -> Carry:
    initial_state, z, caches = carry
    caches = self._stack.grow_cache(caches, steps)
    self._require_positions(caches[0][0].shape[2] + steps)  # the past, and what is to come
    return initial_state, z, caches

  def cache_block(self, horizon: int) -> int:
    return cache_block(horizon)

  def step(self, carry: Carry, action: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, Carry]:
    initial_state, z, caches = carry
    token = self._tokens(initial_state, action, t, self._positions[t])
    x, caches = self._stack.step(token, caches, t)
    z = self._read_out.step(x, z) if self._is_gated else self._read_out(x)
    return self._normalizer.denormalize(z), (initial_state, z, caches)

  def attention_maps(self, initial_state: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """Attention weights of every layer and head.

    Args:
      initial_state: [B, n].
      actions: [B, T, m].

    Returns:
      [layers, B, heads, T, T]; row t holds the weights of the prediction of s_{t+1}
      on the tokens of a_0 .. a_t, and sums to 1.
    """
    return self._stack.attention_maps(self._sequence(initial_state, actions))

  def _sequence(self, initial_state, actions):
    steps = actions.shape[1]
    self._require_positions(steps)
    return self._tokens(
        initial_state[:, None], actions, tf.range(steps), self._positions[:steps])

  def _require_positions(self, steps):
    if steps > self._positions.shape[0]:
      raise ValueError(f'{steps} actions for a transformer built for a horizon of '
                       f'{self._positions.shape[0]}.')

  def _tokens(self, initial_state, actions, t, positions):
    """[..., embedding_size]."""
    state = self._normalizer.normalize(initial_state)
    return self._embedding(self._normalizer.join(state, actions, t=t)) + positions
