"""A film of one episode in a Gymnasium environment."""

import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tf_agents.policies import tf_policy
from tf_agents.trajectories import time_step as ts
from tqdm import tqdm

from asm_tf.environments.gymnasium_environment import EpisodeNumbers, SeededEpisodes
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.errors import UserError


def film_episode(path: pathlib.Path, system: GymnasiumSystem, policy: tf_policy.TFPolicy,
                 seed: tuple[int, ...], modules: Sequence[str] = ()) -> float:
  """Films the first episode of a seed, with which an evaluation begins too.

  The policy plays it here; a process without TensorFlow plays it once more and draws it.

  Args:
    path: of the file, .gif or .mp4.
    system: what the policy controls.
    policy: of its observations and actions.
    seed: of the episode.
    modules: that register the environment.

  Returns:
    The return of the episode.

  Raises:
    UserError: if the environment draws no pictures, or what writes them is not installed.
  """
  episode = SeededEpisodes(system, EpisodeNumbers(1), list(seed), 0)
  state, _ = episode.reset()
  actions, reward, total, ended = [], 0.0, 0.0, False
  policy_state = policy.get_initial_state(1)
  while not ended:
    observation = tf.constant(np.append(state, episode.t)[None], tf.float32)
    time_step = ts.restart(observation, 1) if episode.t == 0 else ts.transition(
        observation, tf.constant([reward], tf.float32), tf.ones([1]))
    step = policy.action(time_step, policy_state)
    policy_state, action = step.state, step.action[0].numpy()
    actions.append(system.native_action(action).tolist())
    state, reward, terminated, truncated, _ = episode.step(action)
    total, ended = total + reward, terminated or truncated
  episode.close()
  description = {
      'path': str(path), 'modules': list(modules), 'environment': system.name,
      'kwargs': system.kwargs, 'wrappers': list(system.wrappers), 'seed': episode.seed,
      'actions': actions}
  try:
    text = json.dumps(description)
  except TypeError as error:
    raise UserError(f'{system.name} cannot be filmed: its kwargs or wrappers hold more than plain '
                    f'values ({error}): leave --video.') from error
  failure = _draw(text, len(actions))
  if failure is not None:
    said = failure.removeprefix('error: ')
    if said == failure:  # another's code
      said += ': what it draws by must work here (MuJoCo without a screen: EGL, MUJOCO_GL=egl).'
    raise UserError(f'{system.name} cannot be filmed: {said}')
  return total


def _draw(description, steps):
  """Returns None, or the last line of what went wrong in the process that draws."""
  with tempfile.TemporaryFile('w+') as given, tempfile.TemporaryFile('w+') as said:
    given.write(description)
    given.seek(0)
    with subprocess.Popen([sys.executable, '-m', 'asm_tf.environments.draw_episode'], stdin=given,
                          stdout=subprocess.PIPE, stderr=said) as process:
      for _ in tqdm(process.stdout, total=steps, unit='step',
                    dynamic_ncols=True):
        pass
    if not process.returncode:
      return None
    said.seek(0)
    return (said.read().strip().splitlines() or [''])[-1]
