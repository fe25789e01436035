"""Trains by the programs that `export_training` wrote, on the device that JAX finds.

    python -m benchmarks.on_gpu.train runs/gpu_training ROWS.jsonl [STEPS [SECONDS]]

Needs jax (0.10.2 or 0.11.2) and NumPy. The loop is `Trainer`'s, in Python: episodes are collected
and a batch of them is drawn for every update. One row for the run: the score after every thousand
of STEPS (20,000) environment steps with the seconds since the start, compilation included, and the
seconds until a score of 0.9 and of 0.95; it ends after SECONDS (300).
"""

import json
import pathlib
import sys
import time

import jax
import numpy as np

from benchmarks import exported

jax.config.update('jax_enable_x64', True)  # counters and generators hold int64
_EVAL_INTERVAL = 1000  # environment steps


def main(folder, out, steps='20000', seconds='300'):
  began, folder = time.perf_counter(), pathlib.Path(folder)
  if not (folder / 'run.json').exists():
    sys.exit(f'{folder} holds no run: give the folder that benchmarks.export_training made.')
  run = json.loads((folder / 'run.json').read_text(encoding='utf-8'))
  training = Training(folder, run, exported.first_device())
  curve = []

  def evaluate():
    score = training.score()
    curve.append((training.env_steps, round(score, 4), round(time.perf_counter() - began, 2)))
    print(*curve[-1], flush=True)

  evaluate()
  compiled = curve[0][2]
  while training.env_steps < int(steps) and time.perf_counter() - began < float(seconds):
    training.iterate()
    if training.env_steps - curve[-1][0] >= _EVAL_INTERVAL:
      evaluate()
  reached = {f'seconds_to_{bar}': next((at for _, score, at in curve if score >= bar), None)
             for bar in (0.9, 0.95)}
  row = run | reached | {
      'curve': curve, 'seconds_to_compile': compiled,
      'device': training.device.device_kind, 'jax': jax.__version__}
  with pathlib.Path(out).open('a', encoding='utf-8') as file:
    file.write(json.dumps(row) + '\n')
  print(json.dumps(reached))


class Training:
  """The variables on the device, the replay, and how far the run is."""

  def __init__(self, folder, run, device):
    self._programs = {path.stem: exported.compiled(exported.read(path), device)
                      for path in folder.glob('*.hlo')}
    with np.load(folder / 'variables.npz') as file:
      self._variables, self._overwritten = (
          [jax.device_put(file[name], device) for name in file.files] for _ in range(2))
    self.device, self._run = device, run
    self._draws = np.random.default_rng(run['seed'])
    self._replay = []
    self.env_steps = self._updates = 0

  def score(self):
    """0 is the random policy's, 1 the optimum's."""
    mean_return, = self._execute('evaluate')
    random, optimal = self._run['random'], self._run['optimal']
    return (float(mean_return) - random) / (optimal - random)

  def iterate(self):
    """Collects an episode and makes the updates that it calls for."""
    warms_up = self.env_steps < self._run['warmup_steps']
    episode = self._execute('warm_up' if warms_up else 'collect')
    self._replay.append([np.asarray(part)[0] for part in episode])
    self.env_steps += self._run['horizon']
    due = max(0, self.env_steps - self._run['warmup_steps']) // self._run['model_period']
    while self._updates < due:
      rows = self._draws.integers(len(self._replay), size=self._run['batch_size'])
      parts = zip(*(self._replay[row] for row in rows), strict=True)
      self._execute('train', *(jax.device_put(np.stack(part), self.device) for part in parts))
      self._updates += 1

  def _execute(self, name, *inputs):
    """The results of a program; the variables are what it has made of them."""
    # TensorFlow's programs take and return their variables once more, as memory to write to.
    returned = self._programs[name].execute([*self._variables, *inputs, *self._overwritten])
    count = len(self._variables)
    self._variables, self._overwritten = returned[:count], returned[-count:]
    return returned[count:-count]


if __name__ == '__main__':
  if not 3 <= len(sys.argv) <= 5:
    sys.exit(__doc__)
  main(*sys.argv[1:])
