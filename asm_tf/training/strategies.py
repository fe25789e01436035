"""The tf.distribute strategy that a user names, or the one that fits the machine."""

import json
import logging
import os
import re
import signal

import tensorflow as tf

from asm_tf.errors import UserError

_LOG = logging.getLogger('asm_tf')


def make_strategy(name: str = 'auto', use_gpu: bool | None = None, tpu: str | None = None,
                  replicas: int | None = None) -> tf.distribute.Strategy | None:
  """Makes a strategy; must be called before TensorFlow has touched a device.

  Args:
    name: 'one_device'; 'mirrored', one replica per GPU of this machine; 'multi_worker', one
      worker per host of the cluster that the environment variable TF_CONFIG describes; 'tpu';
      or 'auto', the first that applies of TPU (if `tpu` is given), several workers, several
      GPUs and one device.
    use_gpu: True requires a GPU, False ignores GPUs, None uses those that there are.
    tpu: 'local', or the name or address of a TPU.
    replicas: of a mirrored strategy; without a GPU, they share the CPU.

  Returns:
    A strategy, or None for one device.

  Raises:
    UserError: if a device that was asked for is not there.
  """
  if tpu and (use_gpu or name not in ('auto', 'tpu')):
    raise UserError(f'--tpu={tpu} asks for a TPU, and another flag for something else: give one.')
  gpus = _visible_gpus(use_gpu)
  if name == 'auto':
    if tpu:  # it ignores TF_CONFIG, which may describe another cluster
      name = 'tpu'
    elif len(_cluster()) > 1:
      name = 'multi_worker'
    else:
      name = 'mirrored' if (replicas or len(gpus)) > 1 else 'one_device'
  if replicas and name in ('multi_worker', 'tpu'):
    raise UserError(f'--replicas={replicas} is for one machine without a TPU: leave it, '
                    f'{name} takes every device that there is.')
  if name == 'one_device' and (replicas or 1) > 1:
    raise UserError(f'--replicas={replicas} is for several devices and --strategy=one_device for '
                    'one: leave one of them.')
  return {'one_device': lambda: _one_device(gpus), 'mirrored': lambda: _mirrored(gpus, replicas),
          'multi_worker': _multi_worker, 'tpu': lambda: _tpu(tpu or 'local')}[name]()


def _visible_gpus(use_gpu):
  """The GPUs to be used; they allocate memory as it is needed, so that runs can share one."""
  gpus = tf.config.list_physical_devices('GPU')
  if use_gpu and not gpus:
    raise UserError("--use_gpu asks for a GPU and TensorFlow finds none: see the driver and "
                    "`pip install 'tensorflow[and-cuda]'`, or leave the flag.")
  if use_gpu is False:
    tf.config.set_visible_devices([], 'GPU')
    return []
  for gpu in gpus:
    tf.config.experimental.set_memory_growth(gpu, True)
  return gpus


def _one_device(gpus):
  tf.config.set_visible_devices(gpus[:1], 'GPU')


def _mirrored(gpus, replicas):
  if not gpus and not replicas:
    raise UserError('--strategy=mirrored asks for GPUs and TensorFlow finds none: give '
                    '--replicas=2 to share the CPU, or leave the flag.')
  replicas = replicas or len(gpus)
  if gpus and replicas > len(gpus):
    raise UserError(f'--replicas={replicas} needs as many GPUs and there are {len(gpus)}: give '
                    'fewer, or --nouse_gpu to share the CPU.')
  if not gpus:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices('CPU')[0],
        [tf.config.LogicalDeviceConfiguration()] * replicas)
  kind = 'GPU' if gpus else 'CPU'
  return tf.distribute.MirroredStrategy([f'{kind}:{i}' for i in range(replicas)])


def _multi_worker():
  workers = _cluster()
  if not workers:
    raise UserError('--strategy=multi_worker needs the environment variable TF_CONFIG, with the '
                    'cluster and the task of this worker (docs/devices.md has an example).')
  if len(workers) > 1:
    _LOG.warning('waiting for all workers: %s', ', '.join(workers))
  # Python's own handler would wait with it.
  handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
  try:
    return tf.distribute.MultiWorkerMirroredStrategy()
  finally:
    signal.signal(signal.SIGINT, handler)


def _cluster():
  """Addresses of the workers in TF_CONFIG, including this one."""
  text = os.environ.get('TF_CONFIG')
  if not text:
    return []
  try:
    config = json.loads(text)
    workers = config['cluster']['worker']
    if set(config['cluster']) != {'worker'}:
      raise ValueError('its tasks are to be workers, a chief too')
    if not isinstance(workers, list):
      raise TypeError(f'worker is {workers!r}')
    if config['task']['type'] != 'worker' or not 0 <= config['task']['index'] < len(workers):
      raise ValueError(f'there is no task {config["task"]}')
    return workers
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(
        f'TF_CONFIG does not describe a cluster of workers ({error!r}): give {{"cluster": '
        '{"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}.'
    ) from error


def _tpu(tpu):
  try:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
    if tpu != 'local':
      tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
  except Exception as error:  # depends on how far the search came
    cause = re.split('[.\n]', str(error))[0]
    raise UserError(f'no TPU answers under --tpu={tpu} ({cause}): give the name of one, or leave '
                    'the flag.') from error
