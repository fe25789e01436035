"""Causal attention over a sequence, and one query at a time against a cache.

    y_t = sum_{k <= t} softmax_k(q_t . k_k) v_k

Scaling, where an architecture has any, is the caller's, who scales the queries.
"""

import tensorflow as tf

# Queries are taken in blocks of this size; a block sees the keys up to its end only, so
# that of long sequences little is formed that the causal mask would throw away.
_BLOCK = 64


def causal_attention(queries, keys, values):
  """Attention of every query to the keys up to its own position.

  Args:
    queries: [B, heads, T, d].
    keys: [B, heads, T, d].
    values: [B, heads, T, e].

  Returns:
    [B, heads, T, e].
  """
  steps, outputs = queries.shape[-2], []
  for begin in range(0, steps, _BLOCK):
    end = min(begin + _BLOCK, steps)
    weights = attention_weights(queries[:, :, begin:end], keys[:, :, :end], begin)
    outputs.append(weights @ values[:, :, :end])
  return tf.concat(outputs, 2)


def attention_weights(queries, keys, begin=0):
  """The weights [B, heads, Q, K] of queries at positions begin .. begin+Q-1 on keys 0 .. K-1."""
  scores = tf.matmul(queries, keys, transpose_b=True)
  position = begin + tf.range(queries.shape[-2])[:, None]
  seen = tf.range(keys.shape[-2])[None] <= position
  return tf.nn.softmax(tf.where(seen, scores, scores.dtype.min))


def decode_attention(query, key, value, keys, values, t):
  """One step of causal attention against a cache of static size.

  Args:
    query: [B, heads, d], of position t.
    key: [B, heads, d], of position t.
    value: [B, heads, e], of position t.
    keys: [L, B, heads, d], the cache; positions from t on are not read.
    values: [L, B, heads, e], the cache.
    t: scalar position.

  Returns:
    [B, heads, e], and the caches with position t written.
  """
  keys = tf.tensor_scatter_nd_update(keys, [[t]], key[None])
  values = tf.tensor_scatter_nd_update(values, [[t]], value[None])
  scores = tf.reduce_sum(keys * query, -1)  # [L, B, heads]
  seen = (tf.range(keys.shape[0]) <= t)[:, None, None]
  scores = tf.where(seen, scores, scores.dtype.min)
  # tf.nn.softmax along another axis than the last would transpose twice. The largest
  # score cancels, and so does its gradient.
  weights = tf.exp(scores - tf.stop_gradient(tf.reduce_max(scores, 0)))
  weights /= tf.reduce_sum(weights, 0)
  return tf.reduce_sum(weights[..., None] * values, 0), keys, values
