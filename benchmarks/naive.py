"""The same networks as one would first write them: Keras layers, a graph, no XLA."""

import tensorflow as tf

import asm_tf  # noqa: F401, chooses Keras 2

_WIDTH, _EMBEDDING, _HEADS, _LAYERS = 64, 72, 3, 2


def keras_network(model, input_size, horizon, state_size):
  """A Keras network [B, H, inputs] -> [B, H, n], or None where Keras has no such layer."""
  inputs = x = tf.keras.Input([horizon, input_size])
  x = tf.keras.layers.Dense(_EMBEDDING)(x)
  if model in ('lstm', 'rnn'):
    layer = {'lstm': tf.keras.layers.LSTM, 'rnn': tf.keras.layers.SimpleRNN}[model]
    for _ in range(_LAYERS):
      x = layer(_WIDTH, return_sequences=True)(x)
  elif model == 'transformer':
    x += tf.keras.layers.Embedding(horizon, _EMBEDDING)(tf.range(horizon))
    for _ in range(_LAYERS):
      y = tf.keras.layers.LayerNormalization()(x)
      x += tf.keras.layers.MultiHeadAttention(_HEADS, _EMBEDDING // _HEADS)(
          y, y, use_causal_mask=True)
      y = tf.keras.layers.LayerNormalization()(x)
      x += tf.keras.layers.Dense(_EMBEDDING)(tf.keras.layers.Dense(_WIDTH, 'gelu')(y))
    x = tf.keras.layers.LayerNormalization()(x)
  else:
    return None
  return tf.keras.Model(inputs, tf.keras.layers.Dense(state_size)(x))


def keras_update(model, batch_size, input_size, horizon, state_size):
  """A function () that updates such a network once on random data, or None."""
  network = keras_network(model, input_size, horizon, state_size)
  if network is None:
    return None
  inputs = tf.random.normal([batch_size, horizon, input_size])
  targets = tf.random.normal([batch_size, horizon, state_size])
  optimizer = tf.keras.optimizers.Adam(1e-3, jit_compile=False)
  variables = network.trainable_variables
  optimizer.build(variables)

  @tf.function(autograph=False)
  def update():
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((network(inputs, training=True) - targets) ** 2)
    optimizer.apply_gradients(
        zip(tape.gradient(loss, variables), variables, strict=True))
    return loss

  return update
