"""The decision transformer: actions from returns-to-go, states and earlier actions.

    a_t ~ pi(. | G_{t-K+1}, s_{t-K+1}, a_{t-K+1}, .., G_t, s_t),   G_t = r_t + .. + r_{H-1}

(Chen et al., 2021; Zheng et al., 2022, whose policy is a squashed Gaussian). It stands on
the same transformer layers as the world model of that name.
"""

import tensorflow as tf

from asm_tf.errors import require_at_least
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.transformer_stack import TransformerStack

LOG_STD_RANGE = (-5.0, 2.0)  # Zheng et al.


class DecisionTransformer(tf.keras.Model):
  """Three tokens a step, (return-to-go, state, action), each with a learned vector for t."""

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               context_size: int = 20, embedding_size: int = 72, num_layers: int = 2,
               num_heads: int = 3, hidden_size: int = 288, dropout: float = 0.1,
               seed: int | None = None):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of the states; its horizon bounds t.
      state_size: n.
      action_size: m.
      context_size: K, the steps that an action depends on, itself included.
      embedding_size: width of the tokens.
      num_layers: see `TransformerStack`.
      num_heads: see `TransformerStack`.
      hidden_size: see `TransformerStack`.
      dropout: see `TransformerStack`; in training only.
      seed: see `TransformerStack`.
    """
    require_at_least(1, context_size=context_size, embedding_size=embedding_size)
    super().__init__(name='decision_transformer')
    self.normalizer = normalizer
    self.state_size, self.action_size = state_size, action_size
    self.context_size = min(context_size, normalizer.horizon)
    self._embeddings = [tf.keras.layers.Dense(embedding_size, name=f'embedding_{name}')
                        for name in ('return', 'state', 'action')]
    self._positions = self.add_weight(
        name='positions', shape=[normalizer.horizon, embedding_size],
        initializer=tf.keras.initializers.RandomNormal(stddev=0.02))
    self._stack = TransformerStack(embedding_size, num_layers, num_heads, hidden_size, dropout,
                                   seed, name='stack')
    self._head = tf.keras.layers.Dense(2 * action_size, name='head')
    self(tf.zeros([1, 1]), tf.zeros([1, 1, state_size]), tf.zeros([1, 1, action_size]),
         tf.zeros([1, 1], tf.int32))

  def call(self, returns_to_go: tf.Tensor, states: tf.Tensor, actions: tf.Tensor,
           t: tf.Tensor | int, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """The distribution of every action given what comes before it.

    Args:
      returns_to_go: [B, L], in units of the spread of returns; L at most K.
      states: [B, L, n].
      actions: [B, L, m]; the last is not looked at.
      t: [B, L] integer steps.
      training: True turns dropout on.

    Returns:
      mu and log sigma before the tanh, both [B, L, m].
    """
    inputs = (returns_to_go[..., None], self.normalizer.normalize(states), actions)
    positions = tf.gather(self._positions, t)  # [B, L, size]
    tokens = tf.stack([  # [B, L, 3, size]
        embed(part) + positions
        for embed, part in zip(self._embeddings, inputs, strict=True)], 2)
    x = self._stack(tf.reshape(tokens, [-1, 3 * tokens.shape[1], tokens.shape[3]]),
                    training=training)
    at_states = tf.reshape(x, [-1, *tokens.shape[1:]])[:, :, 1]
    mean, raw = tf.split(self._head(at_states), 2, -1)
    low, high = LOG_STD_RANGE
    return mean, low + (high - low) * (tf.tanh(raw) + 1) / 2
