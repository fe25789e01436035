"""GPT-2's stack of transformer layers, whole sequences at once or one step at a time.

Each layer is x + attention(norm(x)), then x + MLP(norm(x)) (pre-norm, GELU); a last
norm follows the stack. Weights start as GPT-2's do: normal with deviation 0.02,
divided by sqrt(2 layers) where a branch ends in the residual stream.
"""

import math
from typing import Any

import tensorflow as tf

from asm_tf.errors import UserError, require_at_least, require_between
from asm_tf.models.attention import (
  Cache,
  attention_weights,
  causal_attention,
  decode_attention,
  empty_cache,
  grow_cache,
)
from asm_tf.models.layer_norm import LayerNorm
from asm_tf.models.products import Dense
from asm_tf.random_streams import Stream, make_generator


class TransformerStack(tf.keras.layers.Layer):
  """Layers of causal self-attention on tokens [B, T, size]."""

  def __init__(self, size: int, num_layers: int, num_heads: int, hidden_size: int,
               dropout: float = 0.0, seed: int | None = None, **kwargs: Any):
    """Builds the layers.

    Args:
      size: width of tokens and residual stream, a multiple of `num_heads`.
      num_layers: of attention and MLP.
      num_heads: of attention.
      hidden_size: width of the MLPs.
      dropout: rate, in steps of 1/256, on the tokens and on what each branch adds, in training
        only; GPT-2 drops attention weights too, this does not. Microbatches, which draw from one
        generator, then run one after the other.
      seed: of the dropout; None takes one from TensorFlow's global seed, as weights do.
      **kwargs: name and dtype of the Keras layer.

    Raises:
      UserError: for sizes that do not fit.
    """
    require_between(1, 1000, num_layers=num_layers)
    require_at_least(1, num_heads=num_heads, hidden_size=hidden_size)
    if size % num_heads:
      raise UserError(f'embedding_size is {size} and num_heads {num_heads}: '
                      'give a size that the heads divide.')
    if not 0 <= dropout < 1:
      raise UserError(f'dropout is {dropout!r}: give a rate from 0 to below 1.')
    super().__init__(**kwargs)
    self._size = size
    self._dropout = _Dropout(dropout, seed)
    self._blocks = [
        _Block(size, num_heads, hidden_size, 0.02 / math.sqrt(2 * num_layers), self._dropout,
               dtype=self.dtype, name=f'block_{i}') for i in range(num_layers)]
    self._norm = LayerNorm(dtype=self.dtype, name='norm')

  def call(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Tokens [B, T, size] -> [B, T, size]; position t depends on positions up to t."""
    x = self._dropout(tokens, training)
    for block in self._blocks:
      x = block(x, training=training)
    return self._norm(x)

  def start(self, batch_size: tf.Tensor | int, horizon: int) -> list[Cache]:
    """Empty caches for `step`, of `horizon` positions."""
    return [block.start(batch_size, horizon) for block in self._blocks]

  def grow_cache(self, caches: list[Cache], steps: int) -> list[Cache]:
    """Full caches with room for `steps` more positions."""
    return [grow_cache(cache, steps) for cache in caches]

  def step(self, token: tf.Tensor, caches: list[Cache],
           t: tf.Tensor | int) -> tuple[tf.Tensor, list[Cache]]:
    """Token [B, size] of position t -> [B, size] and the caches with it."""
    x, next_caches = token, []
    for block, cache in zip(self._blocks, caches, strict=True):
      x, cache = block.step(x, cache, t)
      next_caches.append(cache)
    return self._norm(x), next_caches

  def attention_maps(self, tokens: tf.Tensor) -> tf.Tensor:
    """Weights [layers, B, heads, T, T]; row t holds what position t looks at."""
    x, maps = tokens, []
    for block in self._blocks:
      maps.append(block.attention_map(x))
      x = block(x)
    return tf.stack(maps)


class _Dropout(tf.Module):
  """Drops entries at random and scales the others up, from a checkpointed generator.

  The rate is rounded to a multiple of 1/256.
  """

  def __init__(self, rate, seed):
    super().__init__(name='dropout')
    self._rate = rate
    if seed is None:
      seed = int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32))
    self._generator = make_generator(seed, Stream.DROPOUT)

  def __call__(self, x, training):
    if not training or self._rate == 0:
      return x
    # A random byte an entry: whole floats would be a quarter of an update's time.
    size = tf.size(x)
    words = self._generator.uniform_full_int([(size + 3) // 4], tf.uint32)
    random = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size], tf.shape(x))
    dropped = min(round(256 * self._rate), 255)
    return tf.where(random >= dropped, x / (1 - dropped / 256), tf.zeros_like(x))


class _Block(tf.keras.layers.Layer):
  """One layer: attention, then MLP, each on a normed copy of the residual stream."""

  def __init__(self, size, num_heads, hidden_size, residual_std, dropout, **kwargs):
    super().__init__(**kwargs)
    self._size, self._heads = size, num_heads
    self._scale = 1 / math.sqrt(size // num_heads)
    self._dropout = dropout
    self._attention_norm = LayerNorm(dtype=self.dtype, name='attention_norm')
    self._qkv = _dense(3 * size, 0.02, 'qkv', self.dtype)
    self._attention_out = _dense(size, residual_std, 'attention_out', self.dtype)
    self._mlp_norm = LayerNorm(dtype=self.dtype, name='mlp_norm')
    self._mlp_in = _dense(hidden_size, 0.02, 'mlp_in', self.dtype)
    self._mlp_out = _dense(size, residual_std, 'mlp_out', self.dtype)

  def call(self, x, training=False):
    attended = causal_attention(*self._project(x))  # [B, heads, T, d]
    attended = tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [-1, *x.shape[1:]])
    return self._add_branches(x, attended, training)

  def start(self, batch_size, horizon):
    head_size = self._size // self._heads
    return empty_cache(batch_size, self._heads, head_size, head_size, horizon, self.dtype)

  def step(self, x, cache, t):
    query, key, value = tf.unstack(self._heads_of(x), axis=-3)  # [B, heads, d]
    attended, cache = decode_attention(self._scale * query, key, value, cache, t)
    return self._add_branches(x, tf.reshape(attended, [-1, self._size]), False), cache

  def attention_map(self, x):
    queries, keys, _ = self._project(x)
    return attention_weights(queries, keys)

  def _project(self, x):
    """Queries (scaled), keys and values, each [B, heads, T, d]."""
    queries, keys, values = tf.unstack(tf.transpose(self._heads_of(x), [2, 0, 3, 1, 4]))
    return self._scale * queries, keys, values

  def _heads_of(self, x):
    """Queries, keys and values of x [..., size]: [..., 3, heads, d]."""
    return tf.reshape(self._qkv(self._attention_norm(x)),
                      [-1, *x.shape[1:-1], 3, self._heads, self._size // self._heads])

  def _add_branches(self, x, attended, training):
    x += self._dropout(self._attention_out(attended), training)
    hidden = tf.nn.gelu(self._mlp_in(self._mlp_norm(x)), approximate=True)
    return x + self._dropout(self._mlp_out(hidden), training)


def _dense(size, std, name, dtype):
  return Dense(
      size, kernel_initializer=tf.keras.initializers.RandomNormal(stddev=std), name=name,
      dtype=dtype)
