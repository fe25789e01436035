"""The one-step world model (paper, Equation 1; Appendix E.1): the Markov agent's."""

from collections.abc import Sequence

import tensorflow as tf

from asm_tf.errors import require_sizes
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.products import Dense
from asm_tf.models.sequence_model import SequenceModel


class Markov(SequenceModel):
  """s_{t+1} = s_t + f(s_t, a_t, t) with an MLP f; trained on single true transitions.

  The paper's f is measured in units of the states. Over H steps the differences of a smooth system
  are about H times smaller, and Adam learns such small targets badly; in units of their own spread
  (as Nagabandi et al., 2018, have them, who also subtract the mean) they are of one size at all.

  The model has no memory, and knows by its time features alone when to do what it does at a single
  step: at H = 500 it is given waves of four more octaves than the policy and the sequence models
  (but within a critic's windows, where it is given the episode's time as they are).
  """

  def __init__(self, normalizer: Normalizer, state_size: int, action_size: int,
               hidden_sizes: Sequence[int] = (64, 64), scale_differences: bool = True,
               dtype: str = 'float32'):
    """Builds the model and its weights.

    Args:
      normalizer: `Normalizer` of states and time.
      state_size: n.
      action_size: m.
      hidden_sizes: widths of the ReLU layers.
      scale_differences: True predicts differences in units of their own spread, False in
        units of the states' spread.
      dtype: 'float32' or 'float64'.
    """
    require_sizes(hidden_sizes=hidden_sizes)
    super().__init__(name='markov', dtype=dtype)
    self._normalizer = normalizer.resolving_steps()
    self._scale_differences = scale_differences
    self._hidden = [Dense(size, 'relu', dtype=dtype, name=f'hidden_{i}')
                    for i, size in enumerate(hidden_sizes)]
    self._difference = tf.keras.layers.Dense(state_size, dtype=dtype, name='difference')
    self(tf.zeros([1, state_size], dtype), tf.zeros([1, 1, action_size], dtype))

  def start(self, initial_state: tf.Tensor, horizon: int) -> tf.Tensor:
    return initial_state

  def step(self, carry: tf.Tensor, action: tf.Tensor,
           t: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    state = self._next(carry, action, t)
    return state, self._normalizer.bound(state)

  def predict_teacher_forced(self, states: tf.Tensor, actions: tf.Tensor,
                             training: bool = False) -> tf.Tensor:
    return self._next(states[:, :-1], actions, tf.range(actions.shape[1]))

  def _next(self, states, actions, t):
    """The successors [..., n] of any number of states."""
    normalized = self._normalizer.normalize(states)
    x = self._normalizer.join(normalized, actions, t=t)
    for layer in self._hidden:
      x = layer(x)
    difference = self._difference(x)
    if self._scale_differences:
      return states + self._normalizer.denormalize_difference(difference)
    return self._normalizer.denormalize(normalized + difference)
