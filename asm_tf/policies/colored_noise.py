"""Exploration noise whose spectrum falls as 1 / f^beta: white (0), pink (1), red (2).

Independent noise averages out over many small steps, so that all random episodes look alike.
Noise that is correlated over an episode moves the state (Eberhard et al., "Pink Noise Is All
You Need", ICLR 2023; the spectrum is Timmer and Koenig's, 1995).
"""

import numpy as np
import tensorflow as tf
from tf_agents.trajectories import time_step as ts

from asm_tf.errors import require_not_negative
from asm_tf.policies.acting_step import acting_step


class ColoredNoise(tf.Module):
  """Draws the noise of whole episodes; at every single step it is standard normal.

  A policy carries the episode's draw in its policy state, and draws anew when an episode
  begins, so that nothing but the generator has to be checkpointed.

  Attributes:
    spec: of the policy state.
  """

  def __init__(self, generator: tf.random.Generator, horizon: int, action_size: int,
               exponent: float = 2.0):
    """Builds the source.

    Args:
      generator: what is drawn from.
      horizon: H.
      action_size: m; the actions' components are independent of each other.
      exponent: beta. 0 is white noise, the paper's; 1 is pink, 2 red.
    """
    super().__init__(name='colored_noise')
    require_not_negative(**{'ColoredNoise.exponent': exponent})
    self.spec = {'noise': tf.TensorSpec([horizon, action_size])}
    self._generator = generator
    self._amplitudes = _amplitudes(horizon, exponent)
    self._is_white = exponent == 0

  def draw(self, batch_size: tf.Tensor | int) -> tf.Tensor:
    """Returns the noise of whole episodes, [batch_size, H, m]."""
    horizon, size = self.spec['noise'].shape
    white = self._generator.normal([batch_size, size, horizon])
    if self._is_white:
      return tf.transpose(white, [0, 2, 1])
    spectrum = tf.signal.rfft(white) * tf.cast(self._amplitudes, tf.complex64)
    return tf.transpose(tf.signal.irfft(spectrum, [horizon]), [0, 2, 1])

  def step(self, time_step: ts.TimeStep, state: dict[str, tf.Tensor]) -> tuple[
      tf.Tensor, dict[str, tf.Tensor]]:
    """Returns the noise of a step.

    Args:
      time_step: TF-Agents time step with observations [B, n+1], the time last.
      state: the policy state, {'noise': [B, H, m]}; drawn anew where an episode begins.

    Returns:
      [B, m], and the policy state.
    """
    begins, episode = time_step.is_first(), state['noise']
    episode = tf.cond(
        tf.reduce_any(begins),
        lambda: tf.where(begins[:, None, None], self.draw(tf.shape(episode)[0]), episode),
        lambda: episode)
    t = acting_step(time_step.observation[:, -1], episode.shape[1])
    return tf.gather(episode, t, batch_dims=1), {'noise': episode}


def _amplitudes(horizon, exponent):
  """The factors [H // 2 + 1] of white noise's frequencies that leave its variance at 1.

  The lowest frequency, 0, counts as 1 / H, so that the mean over an episode varies too.
  """
  frequencies = np.arange(horizon // 2 + 1)  # in cycles an episode
  amplitudes = np.maximum(frequencies, 1.0)**(-exponent / 2)
  # Of the H frequencies of a real signal all come in pairs but 0 and, if H is even, H / 2.
  pairs = np.where((frequencies == 0) | (2 * frequencies == horizon), 1, 2)
  return amplitudes / np.sqrt(np.sum(pairs * amplitudes**2) / horizon)
