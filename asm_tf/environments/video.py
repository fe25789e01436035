"""A film of one episode in a Gymnasium environment."""

import importlib
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from tf_agents.policies import tf_policy
from tf_agents.trajectories import time_step as ts

from asm_tf.environments.gymnasium_environment import EpisodeNumbers, SeededEpisodes
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.errors import UserError

_FRAMES_PER_SECOND = 30  # at most, and where the environment names none


def film_episode(system: GymnasiumSystem, policy: tf_policy.TFPolicy,
                 seed: tuple[int, ...]) -> tuple[list[np.ndarray], float, float]:
  """Plays the first episode of a seed, which an evaluation begins with too.

  Args:
    system: what the policy controls.
    policy: of its observations and actions.
    seed: of the episode.

  Returns:
    The pictures, [height, width, 3] of uint8, one for each state; pictures a second; the return.

  Raises:
    UserError: if the environment draws no pictures.
  """
  if not os.environ.get('DISPLAY'):
    # Before MuJoCo and SDL are imported: no screen is needed.
    os.environ.setdefault('MUJOCO_GL', 'egl')
    os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
  episode = SeededEpisodes(system, EpisodeNumbers(1), list(seed), 0, render_mode='rgb_array')
  state, _ = episode.reset()
  frames, total, ended = [_picture(episode, system)], 0.0, False
  policy_state = policy.get_initial_state(1)
  while not ended:
    observation = tf.constant(np.append(state, episode.t)[None], tf.float32)
    time_step = ts.restart(observation, 1) if episode.t == 0 else ts.transition(
        observation, tf.zeros([1]), tf.ones([1]))
    step = policy.action(time_step, policy_state)
    policy_state = step.state
    state, reward, terminated, truncated, _ = episode.step(step.action[0].numpy())
    total, ended = total + reward, terminated or truncated
    frames.append(_picture(episode, system))
  episode.close()
  return frames, episode.metadata.get('render_fps', _FRAMES_PER_SECOND), total


def write_film(path: pathlib.Path, suffix: str, frames: list[np.ndarray],
               frames_per_second: float) -> None:
  """Writes pictures as a film of at most 30 of them a second.

  Args:
    path: of the file.
    suffix: '.gif' or '.mp4'.
    frames: [height, width, 3] of uint8 each.
    frames_per_second: of the pictures.

  Raises:
    UserError: if what writes it is not installed.
  """
  every = max(1, round(frames_per_second / _FRAMES_PER_SECOND))
  frames, frames_per_second = frames[::every], frames_per_second / every
  options = ({'duration': 1000 / frames_per_second, 'loop': 0} if suffix == '.gif'
             else {'fps': frames_per_second, 'macro_block_size': 2})
  try:
    imageio: Any = importlib.import_module('imageio.v3')
    if suffix == '.mp4':
      importlib.import_module('imageio_ffmpeg')
    imageio.imwrite(path, np.stack(frames), extension=suffix, **options)
  except ImportError as error:
    raise UserError(f"a {suffix} file cannot be written ({error}): pip install 'imageio[ffmpeg]'."
                    ) from error


def _picture(episode, system):
  picture = episode.render()
  if not isinstance(picture, np.ndarray):
    raise UserError(f"{system.name} draws no pictures (its render_mode 'rgb_array' gives a "
                    f'{type(picture).__name__}): leave --video.')
  return picture
