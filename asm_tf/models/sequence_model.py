"""The contract of every world model g: (s_0, a_0 .. a_{T-1}) -> s_1 .. s_T.

`call` predicts a whole sequence, `start` and `step` predict it one step at a time with a
policy in the loop, and `predict_teacher_forced` is what training compares with data.
`call` equals the unrolled `step`, and no action reaches an earlier state.
"""

import tensorflow as tf

from asm_tf.models.unrolling import Carry, UnrollingModel


class SequenceModel(UnrollingModel):
  """Base class of action-sequence, history-sequence and Markov models.

  A subclass implements `start` and `step`. An architecture that is parallel in time
  implements `call` too; the others unroll `step`, which is the default `call`.
  """

  def call(self, initial_state: tf.Tensor, actions: tf.Tensor,
           training: bool = False) -> tf.Tensor:
    """Predicts a trajectory; differentiable in the actions.

    Args:
      initial_state: [B, n], s_0.
      actions: [B, T, m], a_0 .. a_{T-1}.
      training: True turns dropout on, where the model has any.

    Returns:
      [B, T, n], the predictions of s_1 .. s_T.
    """
    del training
    actions = tf.transpose(actions, [1, 0, 2])  # [T, B, m]
    return self.unroll(initial_state, actions.shape[0], lambda state, t: actions[t])

  def start(self, initial_state: tf.Tensor, horizon: int) -> Carry:
    """Returns the carry (a nest of tensors) that the first `step` takes.

    Args:
      initial_state: [B, n], s_0.
      horizon: the steps that the carry must hold until it is grown (`grow_cache`), at most those
        to come.
    """
    raise NotImplementedError

  def step(self, carry: Carry, action: tf.Tensor, t: tf.Tensor) -> tuple[tf.Tensor, Carry]:
    """Predicts one step: carry, a_t [B, m], scalar t -> s_{t+1} [B, n], carry."""
    raise NotImplementedError

  def predict_teacher_forced(self, states: tf.Tensor, actions: tf.Tensor,
                             training: bool = False) -> tf.Tensor:
    """Predicts s_1 .. s_T, [B, T, n], from true states [B, T+1, n] and actions [B, T, m].

    An action-sequence model sees the first state only, which is this default;
    Markov and history models see every true state.
    """
    return self(states[:, 0], actions, training=training)
