"""What stored data costs: a checkpoint of a run on images, and one as the replay grows.

    python -m benchmarks.storage

Prints two tables. The first is of 200 steps on images of 32x32x3 bytes and on Pendulum-v1: size of
the checkpoint, the replay's part of it, and the largest memory of the process. The second is of
HIV treatment, the LSTM: seconds and size of a checkpoint with so many steps in the replay, saved in
turn.
"""

import functools
import itertools
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

import gymnasium
import numpy as np
from absl import flags

from benchmarks import speed
from launch import command_line

_STEPS = 200
_STORED = (2_000, 200_000)
_BATCH = 100  # episodes that are stored at once


class Images(gymnasium.Env):
  """Random images; the reward is the first action."""

  observation_space = gymnasium.spaces.Box(0, 255, [32, 32, 3], np.uint8)
  action_space = gymnasium.spaces.Box(-1.0, 1.0, [2], np.float32)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    return self._image(), {}

  def step(self, action):
    return self._image(), float(action[0]), False, False, {}

  def _image(self):
    return self.np_random.integers(0, 256, self.observation_space.shape, np.uint8)


gymnasium.register('asm_tf_benchmarks/Images-v0', Images, max_episode_steps=50)


def define_flags():
  flags.DEFINE_integer('repeats', 15, 'How often a checkpoint is saved.', lower_bound=1)


def main():
  print(f'| {_STEPS} steps of | checkpoint, MB | replay in it, MB | largest memory, GiB |')
  print('|---|---|---|---|')
  for environment in ('Pendulum-v1', 'asm_tf_benchmarks/Images-v0'):
    size, replay, memory = first_checkpoint(environment)
    print(f'| {environment} | {size:.1f} | {replay:.1f} | {memory:.2f} |', flush=True)
  print('\n| HIV treatment, steps stored | seconds, median | checkpoint, MB |')
  print('|---|---|---|')
  for stored, (seconds, size) in zip(_STORED, checkpoints(flags.FLAGS.repeats), strict=True):
    print(f'| {stored:,} | {seconds:.3f} | {size:.1f} |')


def first_checkpoint(environment):
  """(MB, MB of the replay, GiB of the process) of a short run of gin/gymnasium.gin."""
  import tensorflow as tf
  with tempfile.TemporaryDirectory() as folder:
    subprocess.run([
        sys.executable, '-m', 'launch.main', '--gin_file=gin/gymnasium.gin', '--allow_gin_imports',
        '--gin_bindings=import benchmarks.storage', f'--gin_bindings=ENVIRONMENT="{environment}"',
        '--gin_bindings=HORIZON=50', f'--gin_bindings=NUM_ENV_STEPS={_STEPS}',
        f'--gin_bindings=Trainer.warmup_steps={_STEPS // 2}', f'--root_dir={folder}/run'],
        check=True, capture_output=True)
    newest = tf.train.latest_checkpoint(f'{folder}/run/checkpoints')
    reader = tf.train.load_checkpoint(newest)
    replay = sum(reader.get_tensor(name).nbytes for name in reader.get_variable_to_shape_map()
                 if 'replay/' in name)
    size = _megabytes(pathlib.Path(newest))
  # The largest of the processes so far: the smaller environment is run first.
  memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
  return size, replay / 1e6, memory


def checkpoints(repeats):
  """[(median seconds, MB)] of a checkpoint, in the order of `_STORED`."""
  from asm_tf.training.checkpointer import Checkpointer
  from asm_tf.training.workers import Workers
  with tempfile.TemporaryDirectory() as folder:
    saves = {}
    for stored in _STORED:
      path = pathlib.Path(folder) / str(stored)
      path.mkdir()
      checkpointer = Checkpointer(_trainer_with(stored), path, Workers(None))
      saves[path] = functools.partial(_save, checkpointer, itertools.count())
    return [(statistics.median(seconds), _megabytes(next(path.glob('*.index')).with_suffix('')))
            for path, seconds in speed.interleave(saves, repeats).items()]


def _save(checkpointer, rows):
  checkpointer.save(0.0, next(rows))


def _trainer_with(stored):
  """As gin/myriad_lstm.gin builds it, on HIV treatment, with random numbers in the replay."""
  from tf_agents.specs import tensor_spec

  from asm_tf.systems.myriad.hiv_treatment import HIVTreatment
  horizon = 20
  trainer = speed.make_trainer('lstm', horizon, HIVTreatment)
  for _ in range(stored // (horizon * _BATCH)):
    trainer.replay.add_batch(
        tensor_spec.sample_spec_nest(trainer.replay.data_spec, outer_dims=[_BATCH]))
  return trainer


def _megabytes(checkpoint):
  parts = checkpoint.parent.glob(f'{checkpoint.name}.*')
  return sum(part.stat().st_size for part in parts) / 1e6


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
