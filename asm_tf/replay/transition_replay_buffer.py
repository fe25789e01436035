"""TF-Agents' uniform replay of transitions, filled with whole episodes."""

import tensorflow as tf
from tf_agents.replay_buffers.tf_uniform_replay_buffer import TFUniformReplayBuffer
from tf_agents.typing import types

from asm_tf.errors import require_at_least
from asm_tf.replay import episode_steps


class TransitionReplayBuffer(TFUniformReplayBuffer):
  """Steps in the order they were taken; a sample is two in a row, which TF-Agents takes as one.

  The boundary row of an episode and its padding are left out. The step before the boundary ends
  the episode with discount 0, so that the next episode, which follows it in the buffer, does
  not count.
  """

  def __init__(self, data_spec: types.NestedTensorSpec, length: int,
               seed: int | tuple[int, ...] = 0, capacity: int = 1_000_000):
    """Builds an empty buffer.

    Args:
      data_spec: nest of TensorSpec of one time step.
      length: rows per episode, H+1.
      seed: not used: TF-Agents draws from TensorFlow's own seed, so that a resumed run does not
        draw what an uninterrupted one would have drawn.
      capacity: environment steps kept, (H+1)/H of them; older ones are overwritten.
    """
    require_at_least(length - 1, **{'TransitionReplayBuffer.capacity': capacity})
    del seed
    super().__init__(data_spec, batch_size=1, max_length=capacity // (length - 1) * length)

  def batch_size(self, most: int) -> int:
    """Returns how many items a batch holds: as many as are asked for."""
    return most

  def _add_batch(self, items):
    """Adds an episode, a Trajectory [1, length, ...]."""
    add, steps = super()._add_batch, episode_steps.lengths(items)[0]

    def body(t):
      add(tf.nest.map_structure(lambda x: x[:, t], items))
      return (t + 1,)

    tf.while_loop(lambda t: t < steps, body, (0,))

  def _get_next(self, sample_batch_size=None, num_steps=None, time_stacked=True):
    """Draws pairs of consecutive steps: a nest of [sample_batch_size, 2, ...]."""
    return super()._get_next(sample_batch_size, num_steps or 2, time_stacked)
