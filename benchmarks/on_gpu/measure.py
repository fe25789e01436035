"""Times exported programs on the device that JAX finds, beside JAX's and cuDNN's own LSTM.

    python -m benchmarks.on_gpu.measure runs/gpu_programs ROWS.jsonl [SECONDS]

Needs jax (0.10.2 or 0.11.2) and PyTorch for its LSTM; what fails is an error in the row, and is
tried again. One row a cell: milliseconds of the gradients of model and policy (median and lowest of
20 calls), seconds to compile, the device. It begins no cell after SECONDS (420); rows of this
device and these products are not made again. Products are TF32 on a GPU that has it, or float32
with NVIDIA_TF32_OVERRIDE=0. Inputs are random numbers: the time does not depend on them. A CPU is
measured with JAX_PLATFORMS=cpu only.
"""

import json
import os
import pathlib
import statistics
import sys
import time

import jax
import numpy as np

from benchmarks import exported

_FLOAT32 = os.environ.get('NVIDIA_TF32_OVERRIDE') == '0'  # of NVIDIA's libraries
if _FLOAT32:  # XLA's own products are not asked
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} --xla_gpu_enable_triton_gemm=false'
_REPEATS = 20
_SLOW = 1.0  # seconds a call, above which three calls are enough


def main(programs, out, seconds='420'):
  deadline = time.monotonic() + float(seconds)
  programs, out, device = pathlib.Path(programs), pathlib.Path(out), exported.first_device()
  folders = sorted({path.parent for path in programs.glob('*/*.hlo.gz')
                    if not path.parent.suffix})  # .tmp: an export was stopped
  if not folders:
    sys.exit(f'{programs} holds no programs: give the folder that benchmarks.on_gpu.prepare made.')
  rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
  how = {'device': device.device_kind, 'products': 'float32' if _FLOAT32 else 'default'}
  done = {row['cell'] for row in rows if row.items() >= how.items() and 'error' not in row}
  for cell, measured in _measurements(folders, device):
    if cell in done:
      continue
    if time.monotonic() > deadline:
      print(f'the time is up before {cell}; the same command goes on.')
      return
    try:
      row = measured()
    except Exception as error:  # whatever XLA, JAX or PyTorch says
      row = {'error': f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'}
    row = {'cell': cell} | row | how | {'jax': jax.__version__}
    with out.open('a') as file:
      file.write(json.dumps(row) + '\n')
    print(json.dumps(row), flush=True)


def _measurements(folders, device):
  """(name, function that measures): cuDNN and plain JAX after the cells that they stand beside."""
  for folder in folders:
    yield folder.name, lambda folder=folder: {
        path.name.removesuffix('.hlo.gz'): _program(path, device)
        for path in sorted(folder.glob('*.hlo.gz'))}
    _, model, horizon, times, dtype = folder.name.split('-')
    if model == 'lstm' and dtype == 'float32':
      sizes = int(horizon), 64 * int(times)
      yield f'cudnn-{folder.name}', lambda sizes=sizes: _cudnn(*sizes, device)
    if times == '1' and dtype == 'float32' and model in ('lstm', 'transformer'):
      yield f'jax-{folder.name}', lambda model=model, horizon=horizon: _plain_jax(
          model, int(horizon))


def _program(path, device):
  computation = exported.read(path)
  began = time.perf_counter()
  program = exported.compiled(computation, device)
  compiled = time.perf_counter() - began
  draws = np.random.default_rng(0)
  inputs = [jax.device_put(_random(draws, shape), device)
            for shape in computation.program_shape().parameter_shapes()]

  def run():
    jax.block_until_ready(program.execute(inputs))

  return _times(run) | {'compile_seconds': round(compiled, 2)}


def _random(draws, shape):
  values = draws.uniform(0.1, 0.9, shape.dimensions())
  return values.astype(shape.element_type())


def _plain_jax(model, horizon):
  from benchmarks import jax_models
  gradients = jax_models.gradients(jax_models.MODELS[model](horizon))
  return {name: _times(gradient) for name, gradient in gradients.items()}


def _cudnn(horizon, batch, device):
  """The model gradient of an LSTM of our sizes by PyTorch, whose kernels on a GPU are cuDNN's."""
  import torch
  on = 'cuda' if device.platform == 'gpu' else 'cpu'
  torch.backends.cuda.matmul.allow_tf32 = not _FLOAT32  # as cuDNN's are
  embed, read_out = torch.nn.Linear(13, 72, device=on), torch.nn.Linear(64, 1, device=on)
  lstm = torch.nn.LSTM(72, 64, 2, device=on)
  inputs, states = (torch.rand(horizon, batch, size, device=on) for size in (13, 1))
  parameters = [*embed.parameters(), *lstm.parameters(), *read_out.parameters()]

  def run():
    loss = ((read_out(lstm(embed(inputs))[0]) - states)**2).mean()
    torch.autograd.grad(loss, parameters)
    if on == 'cuda':
      torch.cuda.synchronize()

  return {'model_gradient': _times(run), 'torch': torch.__version__}


def _times(run):
  run()
  seconds = []
  for _ in range(_REPEATS):
    began = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - began)
    if len(seconds) >= 3 and min(seconds) > _SLOW:
      break
  return {'ms': round(1e3 * statistics.median(seconds), 4),
          'lowest_ms': round(1e3 * min(seconds), 4)}


if __name__ == '__main__':
  if not 3 <= len(sys.argv) <= 4:
    sys.exit(__doc__)
  main(*sys.argv[1:])
