"""TF-Agents' uniform replay of transitions, filled with whole episodes."""

import tensorflow as tf
from tf_agents.replay_buffers.tf_uniform_replay_buffer import TFUniformReplayBuffer

from asm_tf.replay import episode_steps


class TransitionReplayBuffer(TFUniformReplayBuffer):
  """Steps in the order they were made; a sample is two in a row, from which TF-Agents takes one.

  The boundary row of an episode, and what pads it, is left out. The step before it ends
  the episode with discount 0, so that what follows it in the buffer, the next episode, does not count.
  """

  def __init__(self, data_spec, length, capacity, seed=0):
    """Builds an empty buffer.

    Args:
      data_spec: nest of TensorSpec of one time step.
      length: rows an episode; not used.
      capacity: largest number of time steps kept; older ones are overwritten.
      seed: not used: TF-Agents draws from TensorFlow's own seed, so that a resumed run
        does not draw what an uninterrupted one would have.
    """
    del seed
    del length
    super().__init__(data_spec, batch_size=1, max_length=capacity)

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
