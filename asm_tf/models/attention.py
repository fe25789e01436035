"""Causal attention over a sequence, and one query at a time against a cache.

    y_t = sum_{k <= t} softmax_k(q_t . k_k) v_k

A caller whose architecture scales the scores scales the queries.
"""

import tensorflow as tf

from asm_tf.models.products import product

# (past keys, past values, recent keys, recent values); see `empty_cache`
Cache = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]

# Queries are processed in blocks of this size. A block sees the keys up to its end only, so
# that little of a long sequence is computed and then masked.
_QUERY_BLOCK = 64
# A decoding loop copies the recent keys at every step, and every block is compiled separately.
_MIN_CACHE_BLOCK, _MAX_CACHE_BLOCKS = 32, 16


def causal_attention(queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
  """Attention of every query to the keys up to its own position.

  The gradient is explicit. With e_tk = exp(q_t . k_k - max_k), s_t its sum over k and
  d_t = dy_t / s_t, that of the scores is e_tk (d_t . v_k - d_t . y_t), whose last term a softmax's
  own gradient would sum over k instead of the few entries of y_t (Dao et al., 2022).

  Args:
    queries: [B, heads, T, d].
    keys: [B, heads, T, d].
    values: [B, heads, T, e].

  Returns:
    [B, heads, T, e].
  """
  steps = queries.shape[-2]
  blocks = [(begin, min(begin + _QUERY_BLOCK, steps))
            for begin in range(0, steps, _QUERY_BLOCK)]

  @tf.custom_gradient
  def attend(queries, keys, values):
    residuals, outputs = [], []
    for begin, end in blocks:
      exponentials = _exponentials(queries[:, :, begin:end], keys[:, :, :end], begin)
      total = tf.reduce_sum(exponentials, -1, keepdims=True)
      outputs.append(product(exponentials, values[:, :, :end]) / total)
      residuals.append((exponentials, total))
    outputs = tf.concat(outputs, 2)

    def gradient(doutputs):
      dqueries, dkeys, dvalues = [], 0.0, 0.0  # the latter transposed, [B, heads, d, T]
      for (begin, end), (exponentials, total) in zip(blocks, residuals, strict=True):
        d = doutputs[:, :, begin:end] / total
        along = tf.reduce_sum(d * outputs[:, :, begin:end], -1, keepdims=True)
        dscores = exponentials * (product(d, values[:, :, :end], transpose_b=True) - along)
        dqueries.append(product(dscores, keys[:, :, :end]))
        # Of each product, the small factor is transposed.
        dkeys += _pad(product(queries[:, :, begin:end], dscores, transpose_a=True), steps)
        dvalues += _pad(product(d, exponentials, transpose_a=True), steps)
      return tf.concat(dqueries, 2), *map(tf.linalg.matrix_transpose, (dkeys, dvalues))

    return outputs, gradient

  return attend(queries, keys, values)


def _pad(x, steps):
  """x [B, heads, d, K] with zeros behind it, [B, heads, d, steps]."""
  return tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, steps - x.shape[3]]])


def _exponentials(queries, keys, begin):
  """exp(score - largest score), 0 where the key is later than the query."""
  scores = _scores(queries, keys, begin)
  return tf.exp(scores - tf.reduce_max(scores, -1, keepdims=True))


def attention_weights(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
  """Returns weights [B, heads, Q, K] of queries 0 .. Q-1 on keys 0 .. K-1."""
  return tf.nn.softmax(_scores(queries, keys, 0))


def _scores(queries, keys, begin):
  """q . k, [B, heads, Q, K]; of keys later than the query the lowest number there is."""
  scores = product(queries, keys, transpose_b=True)
  position = begin + tf.range(queries.shape[-2])[:, None]
  seen = tf.range(keys.shape[-2])[None] <= position
  return tf.where(seen, scores, scores.dtype.min)


def empty_cache(batch_size: tf.Tensor | int, heads: int, key_size: int, value_size: int, steps: int,
                dtype: tf.DType) -> Cache:
  """Returns a cache without positions, with room for `steps` of them.

  A cache holds the past, which `decode_attention` only reads, and the recent positions of the
  current block, which it writes: a loop copies at every step what it changes.

  Returns:
    Past keys [B, heads, 0, d] and values [B, heads, 0, e]; recent keys [B, heads, steps,
    d] and values [B, heads, steps, e].
  """
  return tuple(tf.zeros([batch_size, heads, length, size], dtype)
               for length in (0, steps) for size in (key_size, value_size))


def batch_size_of(x: tf.Tensor) -> tf.Tensor | int:
  """Returns B of x [B, ...]: a number where it is known, a tensor in a graph for any B."""
  return x.shape[0] or tf.shape(x)[0]


def cache_block(horizon: int) -> int:
  """Returns the steps after which a loop of `horizon` steps should grow its cache."""
  return max(_MIN_CACHE_BLOCK, -(-horizon // _MAX_CACHE_BLOCKS))


def grow_cache(cache: Cache, steps: int) -> Cache:
  """Returns a full cache with room for `steps` more positions."""
  _, heads, _, key_size = cache[0].shape
  fresh = empty_cache(batch_size_of(cache[0]), heads, key_size, cache[1].shape[-1], steps,
                      cache[0].dtype)
  past = (tf.concat(pair, 2) for pair in zip(cache[:2], cache[2:], strict=True))
  return (*past, *fresh[2:])


def decode_attention(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, cache: Cache,
                     t: tf.Tensor | int) -> tuple[tf.Tensor, Cache]:
  """One step of causal attention against a cache of static size.

  Args:
    query: [B, heads, d], of position t.
    key: [B, heads, d], of position t.
    value: [B, heads, e], of position t.
    cache: see `empty_cache`.
    t: scalar position, the number of positions before it.

  Returns:
    [B, heads, e], and the cache with position t written.
  """
  past_keys, past_values, keys, values = cache
  position, past = tf.range(keys.shape[2]), past_keys.shape[2]
  here = (position == t - past)[:, None]
  keys = tf.where(here, key[:, :, None], keys)
  values = tf.where(here, value[:, :, None], values)
  query = query[:, :, None]  # [B, heads, 1, d]
  recent = tf.where(position <= t - past, product(query, keys, transpose_b=True),
                    query.dtype.min)
  weights = tf.nn.softmax(
      tf.concat([product(query, past_keys, transpose_b=True), recent], -1))
  attended = product(weights[..., :past], past_values) + product(weights[..., past:], values)
  return attended[:, :, 0], (past_keys, past_values, keys, values)
