"""Reads programs that `export_programs` wrote; for an environment that has jax.

It uses private parts of JAX: 0.10.2 and 0.11.2 have them.
"""

import gzip
import os
import re
import sys

import jax
from jax._src import compiler
from jax._src.interpreters import mlir
from jax._src.lib import _jax, xla_client
from jaxlib.mlir import ir

_COPY = re.compile(r'"?mhlo\.copy"?\(?\s*(%\w+)\)?(?: \{[^}]*\})? : (?:\((tensor<[^>]*>)\) -> )?'
                   r'(tensor<[^>]*>)')


def first_device():
  """The accelerator that JAX finds; a CPU only where JAX_PLATFORMS=cpu asks for it."""
  device = jax.devices()[0]
  if device.platform == 'cpu' and os.environ.get('JAX_PLATFORMS') != 'cpu':
    sys.exit('JAX finds no accelerator here: give JAX_PLATFORMS=cpu to measure the CPU.')
  return device


def read(path):
  """A computation from a file of serialized HLO, compressed where its name ends in .gz."""
  with (gzip.open if str(path).endswith('.gz') else open)(path, 'rb') as file:
    return xla_client.XlaComputation(file.read())


def as_module(computation):
  """The computation as XLA's compilers take it; within `mlir.make_ir_context()`."""
  text = str(ir.Module.parse(_jax.mlir.xla_computation_to_mlir_module(computation)))
  # HLO's copy has no StableHLO form; a reshape to the same shape does as well.
  return ir.Module.parse(_COPY.sub(r'stablehlo.reshape \1 : (\3) -> \3', text))


def compiled(computation, device):
  """A computation, compiled for a device of this machine."""
  with make_ir_context():
    options = compiler.get_compile_options(
        num_replicas=1, num_partitions=1, device_assignment=[[device.id]])
    return device.client.compile_and_load(
        as_module(computation), xla_client.DeviceList((device,)), options)


make_ir_context = mlir.make_ir_context
