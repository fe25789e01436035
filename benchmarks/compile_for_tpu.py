"""Compiles exported programs for a TPU without one; for an environment that has jax and libtpu.

    python -m venv /tmp/tpu && /tmp/tpu/bin/pip install jax==0.10.2 libtpu==0.0.52
    echo PROGRAM.hlo | /tmp/tpu/bin/python -m benchmarks.compile_for_tpu v5e

After one 'ready', for every path on stdin a line of JSON: seconds, memory, XLA's estimates, or the
error. A program that takes longer than the limit, or brings the compiler down, ends the process.
"""

import json
import os
import re
import signal
import sys
import time

os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')  # no process here holds a TPU
os.environ['JAX_PLATFORMS'] = 'cpu'

from jax._src import compiler
from jax._src.lib import xla_client
from jax.experimental import topologies

from benchmarks import exported, hlo_cost

# Operations in products of bfloat16 a second, by the maker's data sheet and by XLA's own
# `optimal_seconds` of a large one, and cycles a second, from the size of the matrix units.
PEAKS = {'v5e': (197e12, 1.5e9), 'v6e': (918e12, 1.75e9)}


def main(topology, chips='1', limit='600'):
  chips, devices = int(chips), topologies.get_topology_desc(
      platform='tpu', topology_name=f'{topology}:2x2').devices
  print('ready', flush=True)
  for path in sys.stdin:
    signal.alarm(int(limit))
    try:
      row = measure(path.strip(), topology, devices[:chips])
    except Exception as error:  # whatever XLA says
      row = {'error': f'{type(error).__name__}: {" ".join(str(error).split())[:400]}'}
    signal.alarm(0)
    print(json.dumps(row), flush=True)
  os._exit(0)  # libtpu aborts in the interpreter's own exit


def measure(path, topology, devices):
  """What a program takes to compile and, by XLA's estimates, to run."""
  with exported.make_ir_context():
    module = exported.as_module(exported.read(path))
    options = compiler.get_compile_options(
        num_replicas=len(devices), num_partitions=1,
        device_assignment=[[device.id] for device in devices])
    began = time.perf_counter()
    program = devices[0].client.compile(
        module, executable_devices=xla_client.DeviceList(tuple(devices)), compile_options=options)
    seconds = time.perf_counter() - began
  memory, of_xla = program.get_compiled_memory_stats(), program.cost_analysis()
  compiled = program.hlo_modules()[0].to_string()
  return {'compile_seconds': round(seconds, 1), 'temp_bytes': memory.temp_size_in_bytes,
          'argument_bytes': memory.argument_size_in_bytes,
          'code_bytes': memory.generated_code_size_in_bytes,
          'all_reduces': len(re.findall(r' all-reduce(?:-start)?\(', compiled)),
          # Of XLA, loops counted once; below zero where it does not know.
          'flops': of_xla.get('flops'), 'optimal_seconds': of_xla.get('optimal_seconds'),
          **_estimates(compiled, *PEAKS[topology])}


def _estimates(compiled, peak, clock):
  """Operations of the products, seconds, and their share of the matrix unit's peak."""
  try:
    cycles, operations = hlo_cost.cost(compiled)
  except ValueError as error:
    return {'no_estimate': str(error)}
  seconds = cycles / clock
  return {'product_operations': operations, 'estimated_seconds': seconds,
          'share_of_peak': operations / (seconds * peak) if seconds else 0.0}


if __name__ == '__main__':
  main(*sys.argv[1:])
