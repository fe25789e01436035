"""Runs the training of the paper's authors on a Myriad system, a line of JSON per evaluation.

    JAX_PYTHON -m benchmarks.authors_training CLONE SYSTEM H SEED STEPS EVAL_INTERVAL

CLONE is a checkout of their repository; JAX_PYTHON has jax, flax, optax, brax, ml_collections,
tqdm and transformers 4.46. Needs nothing of ours. What JAX, flax and brax have renamed or dropped
since is given back under its old name; their own code is not changed, but for one line that is
compiled differently here: flax's cells want their number of features. The settings are theirs for
the LSTM (configs/rl/arm_default.py), with the entropy constant 0.01. Their replay draws from
NumPy's global generator, which is seeded here.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import pathlib
import sys
import types

import numpy as np

_CLASSES = {'CancerTreatment': 'cancer_treatment', 'HIVTreatment': 'hiv_treatment',
            'TimberHarvest': 'timber_harvest', 'Bioreactor': 'bioreactor', 'Bacteria': 'bacteria',
            'MouldFungicide': 'mould_fungicide', 'Harvest': 'harvest',
            'InvasivePlant': 'invasive_plant'}
_NETWORKS = 'src.brax.networks'
_OLD_CELL, _NEW_CELL = 'LSTM()(c, xs)', 'LSTM(c[0].shape[-1])(c, xs)'


class _PatchedNetworks(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
  """Finds their networks, and gives flax's LSTM cell the features that it now asks for."""

  def __init__(self, clone):
    self._clone = pathlib.Path(clone)

  def find_spec(self, name, path, target=None):
    if name != _NETWORKS:
      return None
    return importlib.machinery.ModuleSpec(name, self, origin=self.get_filename(name))

  def get_filename(self, name):
    return str(self._clone / f'{name.replace(".", "/")}.py')

  def get_data(self, path):
    return pathlib.Path(path).read_text(encoding='utf-8').replace(_OLD_CELL, _NEW_CELL).encode()


def main(clone, system, horizon, seed, steps, eval_interval):
  np.random.seed(seed)
  _give_back_old_names()
  sys.path.insert(0, clone)
  sys.meta_path.insert(0, _PatchedNetworks(clone))
  train = importlib.import_module('src.brax.arm.train').train
  wrapper = importlib.import_module('src.brax.custom_envs.myriad.brax_wrapper').MyriadEnv
  module = importlib.import_module(f'src.brax.custom_envs.myriad.lenhart.{_CLASSES[system]}')
  dynamics = getattr(module, system)()
  environments = [wrapper(dynamics, horizon, dynamics.T / horizon, 0) for _ in range(2)]

  def report(step, metrics):
    print(json.dumps({'env_steps': int(step), 'return': float(metrics['eval/episode_reward'])}),
          flush=True)

  train(*environments, horizon, unroll_length=horizon, num_steps=steps, warmup_steps=1500,
        dynamics_update_every=2, policy_update_every=16, batch_size=64, policy_batch_size=16,
        eval_every=eval_interval, seed=seed, network_sizes=(64, 64), epsilon=0.9, bp_discount=0.0,
        discount=1.0, bootstrap=0, entropy_init=0.01, entropy_decay_rate=1.0,
        entropy_transition_steps=100, dynamics_lr=1e-3, policy_lr=1e-4, critic_lr=1e-3, tau=0.005,
        grad_clip=100, buffer_max=int(1e6), embd_dim=48, progress_fn=report,
        sequence_model_params={'name': 'lstm'})


def _give_back_old_names():
  import brax.envs
  import brax.envs.wrappers
  import flax
  import jax
  import jax.numpy as jnp
  import transformers.modeling_flax_utils
  sys.modules['gymnax'] = types.ModuleType('gymnax')  # imported by their code, unused in it
  jax.tree_map = jax.tree_util.tree_map
  jnp.DeviceArray = jax.random.KeyArray = jax.Array
  flax.linen.LSTMCell.initialize_carry = staticmethod(
      lambda rng, batch, size: (jnp.zeros(batch + (size,)), jnp.zeros(batch + (size,))))
  transformers.modeling_flax_utils.append_call_sample_docstring = lambda *args, **kwargs: None
  brax.envs.env = sys.modules['brax.envs.env'] = brax.envs.base
  brax.envs.wrappers.EvalWrapper = brax.envs.wrappers.training.EvalWrapper


if __name__ == '__main__':
  _, their_clone, name, *numbers = sys.argv
  main(their_clone, name, *map(int, numbers))
