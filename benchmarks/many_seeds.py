"""Would many seeds train faster as one program? No: see docs/performance.md.

    python -m benchmarks.many_seeds            # on an otherwise idle machine

The first table is of model updates: an LSTM as wide as gin/models/lstm.gin, forward, backward and
Adam, 64 sequences of H = 20 steps a seed, of seeds whose weights are stacked along a leading axis,
by XLA; milliseconds a seed, measured in turn. The second is of whole runs of the main job: seconds
per 1,000 environment steps and seed of one run with all cores, and of two at a time with half.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from absl import flags

from asm_tf.cores import usable_cores
from benchmarks import speed
from launch import command_line

_SEEDS = (1, 2, 5, 10)
_STEPS, _BATCH, _STATES, _EMBEDDING, _UNITS = 20, 64, 3, 72, 64
_FIRST, _LAST = 2000, 6000  # environment steps of a run between which it is timed


def define_flags():
  flags.DEFINE_integer('repeats', 40, 'How often each update is timed.', lower_bound=1)
  flags.DEFINE_integer('runs', 3, 'How often the runs are timed; 0 leaves them out.', lower_bound=0)


def main():
  given = flags.FLAGS
  milliseconds = stacked_updates(given.repeats)
  print('| seeds in a program | ms a seed | of one alone |\n|---|---|---|')
  for seeds, values in milliseconds.items():
    print(f'| {seeds} | {values:.2f} | {values / milliseconds[1]:.2f} |')
  if given.runs:
    alone, pairs = whole_runs(given.runs)
    print('\n| runs at a time | s per 1,000 steps and seed |\n|---|---|')
    print(f'| 1 | {alone:.2f} |\n| 2 | {pairs:.2f} |')
    print(f'\nTen seeds, two at a time: {10 * pairs / alone:.1f} times the seconds of one alone.')


def stacked_updates(repeats):
  """{seeds: median milliseconds a seed} of a model update."""
  updates = {seeds: _updates(seeds) for seeds in _SEEDS}
  for update in updates.values():
    update()
  return {seeds: 1e3 * statistics.median(seconds) / max(_SEEDS)
          for seeds, seconds in speed.interleave(updates, repeats).items()}


def _updates(seeds):
  """A function () that makes as many updates as the largest number of seeds has."""
  update = _update(seeds)

  def often():
    for _ in range(max(_SEEDS) // seeds):
      update()

  return often


def _update(seeds):
  """A function () that makes an update of an LSTM per seed."""
  import tensorflow as tf

  def weights(*shape):
    return tf.Variable(0.1 * tf.random.normal([seeds, *shape]))

  def linear(x, kernel):
    return tf.einsum('tsbi,sij->tsbj', x, kernel)

  embed, read = weights(_STATES + 1, _EMBEDDING), weights(_UNITS, _STATES)
  layers = [(weights(size, 4 * _UNITS), weights(_UNITS, 4 * _UNITS), weights(1, 4 * _UNITS))
            for size in (_EMBEDDING, _UNITS)]
  variables = [embed, read, *(weight for layer in layers for weight in layer)]
  first, second = ([tf.Variable(tf.zeros_like(v)) for v in variables] for _ in range(2))
  inputs, targets = (tf.random.normal([_STEPS, seeds, _BATCH, size])
                     for size in (_STATES + 1, _STATES))

  @tf.function(jit_compile=True, autograph=False)
  def update():
    with tf.GradientTape() as tape:
      x = linear(inputs, embed)
      for kernel, recurrent, bias in layers:
        x = _lstm(linear(x, kernel) + bias, recurrent)
      loss = tf.reduce_sum(tf.reduce_mean((linear(x, read) - targets)**2, [0, 2, 3]))
    gradients = tape.gradient(loss, variables)
    for variable, m, v, gradient in zip(variables, first, second, gradients, strict=True):
      m.assign(0.9 * m + 0.1 * gradient)
      v.assign(0.999 * v + 0.001 * gradient**2)
      variable.assign_sub(1e-3 * m / (tf.sqrt(v) + 1e-8))
    return loss

  return lambda: update().numpy()


def _lstm(z, recurrent):
  """Hidden states [T, S, B, u] of z [T, S, B, 4u], as `recurrent_kernels` has them for one seed."""
  import tensorflow as tf

  from asm_tf.models.recurrent_kernels import lstm_cell
  start = tf.zeros([*z.shape[1:3], _UNITS])

  def array(width):
    return tf.TensorArray(tf.float32, _STEPS, element_shape=[*z.shape[1:3], width])

  @tf.custom_gradient
  def scan(z, recurrent):
    def forward(t, h, c, gates, cs):
      gate, h, c = lstm_cell(z[t] + h @ recurrent, c)
      return t + 1, h, c, gates.write(t, gate), cs.write(t, c)

    *_, gates, cs = tf.while_loop(
        lambda t, *_: t < _STEPS, forward, (0, start, start, array(4 * _UNITS), array(_UNITS)),
        maximum_iterations=_STEPS)
    i, f, g, o = tf.split(gates.stack(), 4, -1)
    cs = cs.stack()
    hs = 0.5 * (o + 1) * tf.tanh(cs)

    def gradient(dhs):
      previous_c = tf.concat([start[None], cs[:-1]], 0)
      slopes = tf.concat([0.25 * g * (1 - i**2), 0.25 * previous_c * (1 - f**2),
                          0.5 * (i + 1) * (1 - g**2), 0.25 * tf.tanh(cs) * (1 - o**2)], -1)
      dh_dc, forget = 0.5 * (o + 1) * (1 - tf.tanh(cs)**2), 0.5 * (f + 1)

      def backward(s, dh, dc, dzs):
        t = _STEPS - 1 - s
        dh += dhs[t]
        dc += dh * dh_dc[t]
        dz = slopes[t] * tf.concat([dc, dc, dc, dh], -1)
        return (s + 1, tf.matmul(dz, recurrent, transpose_b=True), dc * forget[t],
                dzs.write(t, dz))

      *_, dzs = tf.while_loop(
          lambda s, *_: s < _STEPS, backward, (0, start, start, array(4 * _UNITS)),
          maximum_iterations=_STEPS)
      dzs, previous_h = dzs.stack(), tf.concat([start[None], hs[:-1]], 0)
      return dzs, tf.einsum('tsbu,tsbv->suv', previous_h, dzs)

    return hs, gradient

  return scan(z, recurrent)


def whole_runs(repeats):
  """Median seconds per 1,000 steps and seed of one run at a time, and of two."""
  cores = usable_cores()
  alone, pairs = [], []
  for _ in range(repeats):
    alone += _timed(1, cores)
    pairs += [seconds / 2 for seconds in _timed(2, max(1, cores // 2))]
  return statistics.median(alone), statistics.median(pairs)


def _timed(runs, threads):
  """Seconds per 1,000 steps of each of several runs at the same time."""
  with tempfile.TemporaryDirectory() as folder:
    folders = [pathlib.Path(folder, str(seed)) for seed in range(runs)]
    started = [subprocess.Popen(
        [sys.executable, '-m', 'launch.main', '--gin_file=gin/myriad_lstm.gin',
         f'--gin_bindings=NUM_ENV_STEPS={_LAST}', f'--seed={seed}', f'--root_dir={path}'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {'TF_NUM_INTRAOP_THREADS': str(threads)})
        for seed, path in enumerate(folders)]
    for process in started:
      if process.wait():
        raise RuntimeError(f'a run ended with exit code {process.returncode}.')
    return [_seconds(speed.read_rows(path / 'metrics.jsonl')) for path in folders]


def _seconds(rows):
  at = {row['env_steps']: row['wall_seconds'] for row in rows}
  return (at[_LAST] - at[_FIRST]) / (_LAST - _FIRST) * 1e3


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
