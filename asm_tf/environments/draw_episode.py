"""Plays given actions and films them, in a process that knows nothing of TensorFlow.

TensorFlow and the libraries that draw for MuJoCo do not go together: one process of both crashes.

    python -m asm_tf.environments.draw_episode   < description.json

It writes an empty line to its output after each step.
"""

import importlib
import json
import os
import sys
from typing import Any

import numpy as np

from asm_tf.environments.gymnasium_making import make
from asm_tf.errors import UserError

_FRAMES_PER_SECOND = 30  # at most, and where the environment names none


def film(path: str, suffix: str, modules: list[str], environment: str, kwargs: dict,
         wrappers: list, seed: int, actions: list) -> None:
  """Writes the film of an episode.

  Args:
    path: of the file.
    suffix: '.gif' or '.mp4'.
    modules: to be imported first.
    environment: id.
    kwargs: of the environment.
    wrappers: see `GymnasiumSystem`.
    seed: of the episode.
    actions: as the environment takes them.

  Raises:
    UserError: if the environment draws no pictures, or what writes them is not installed.
  """
  for module in modules:
    importlib.import_module(module)
  env = make(environment, kwargs, wrappers, 'rgb_array')
  dtype = env.action_space.dtype
  env.reset(seed=seed)
  frames_per_second = env.metadata.get('render_fps', _FRAMES_PER_SECOND)
  every = max(1, round(frames_per_second / _FRAMES_PER_SECOND))
  with _make_writer(path, suffix, frames_per_second / every) as writer:
    writer.append_data(_picture(env, environment))
    for t, action in enumerate(actions, 1):
      env.step(np.array(action, dtype))
      if t % every == 0:
        writer.append_data(_picture(env, environment))
      print(flush=True)


def _make_writer(path, suffix, frames_per_second):
  """What appends pictures to a file, so that no film has to fit in memory."""
  options = ({'duration': 1000 / frames_per_second, 'loop': 0} if suffix == '.gif'
             else {'fps': frames_per_second, 'macro_block_size': 2})
  try:
    imageio: Any = importlib.import_module('imageio.v2')
    if suffix == '.mp4':
      importlib.import_module('imageio_ffmpeg')
    return imageio.get_writer(path, mode='I', **options)
  except ImportError as error:
    raise UserError(f"a {suffix} file cannot be written ({error}): pip install 'imageio[ffmpeg]'."
                    ) from error


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
  try:
    film(**json.load(sys.stdin))
  except UserError as failure:
    print(f'error: {failure.message}', file=sys.stderr)
    sys.exit(2)
