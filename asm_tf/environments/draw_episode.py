"""Plays given actions and films them, in a process that knows nothing of TensorFlow.

TensorFlow and the libraries that draw for MuJoCo do not go together: one process of both crashes.

    python -m asm_tf.environments.draw_episode   < description.json

It writes an empty line to its output after each step, and what anything else prints to stderr.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from asm_tf.environments.gymnasium_making import make
from asm_tf.errors import UserError

_FRAMES_PER_SECOND = 30  # at most, and where the environment names none


def film(path: str, modules: list[str], environment: str, kwargs: dict, wrappers: list, seed: int,
         actions: list, after_step: Callable[[], None]) -> None:
  """Writes the film of an episode.

  Args:
    path: of the file, .gif or .mp4.
    modules: to be imported first.
    environment: id.
    kwargs: of the environment.
    wrappers: see `GymnasiumSystem`.
    seed: of the episode.
    actions: as the environment takes them.
    after_step: is called after each of them.

  Raises:
    UserError: if the environment draws no pictures, or what writes them is not installed.
  """
  for module in modules:
    importlib.import_module(module)
  env = make(environment, kwargs, wrappers, 'rgb_array')
  env.reset(seed=seed)
  frames_per_second = env.metadata.get('render_fps', _FRAMES_PER_SECOND)
  every = max(1, round(frames_per_second / _FRAMES_PER_SECOND))
  frames_per_second /= every
  pictures = _play(env, environment, actions, every, after_step)
  if path.endswith('.gif'):
    images = map(Image.fromarray, pictures)
    next(images).save(path, 'GIF', save_all=True, append_images=images, loop=0,
                      duration=1000 / frames_per_second)
  else:
    _write_mp4(path, pictures, frames_per_second)


def _play(env, name, actions, every, after_step):
  """Yields the first picture and that after each so many steps."""
  yield _picture(env, name)
  for t, action in enumerate(actions, 1):
    env.step(np.array(action, env.action_space.dtype))
    if t % every == 0:
      yield _picture(env, name)
    after_step()


def _write_mp4(path, pictures, frames_per_second):
  try:
    imageio: Any = importlib.import_module('imageio.v2')
    importlib.import_module('imageio_ffmpeg')
  except ImportError as error:
    raise UserError(f"an .mp4 file cannot be written ({error}): pip install 'imageio[ffmpeg]'."
                    ) from error
  with imageio.get_writer(path, fps=frames_per_second, macro_block_size=2) as writer:
    for picture in pictures:
      writer.append_data(picture)


def _picture(env, name):
  picture = env.render()
  if not isinstance(picture, np.ndarray):
    raise UserError(f"{name} draws no pictures (its render_mode 'rgb_array' gives a "
                    f'{type(picture).__name__}): leave --video.')
  return picture


if __name__ == '__main__':
  if not os.environ.get('DISPLAY'):  # before MuJoCo and SDL are imported: no screen is needed
    os.environ.setdefault('MUJOCO_GL', 'egl')
    os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
  steps = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
  try:
    film(**json.load(sys.stdin), after_step=lambda: print(file=steps, flush=True))
  except UserError as failure:
    print(f'error: {failure.message}', file=sys.stderr)
    sys.exit(2)
