"""A whole training run as four programs and the numbers that it begins with.

    python -m benchmarks.export_training --system=HIVTreatment --horizon=500 --out=runs/gpu_training

For a machine that has JAX and no TensorFlow; `on_gpu.train` runs it there. Environment, agent and
evaluation are `launch.main`'s, in the form that an accelerator gets. A program takes the value of
every variable (and what else it needs) and returns the values after it, then its results: warm_up
and collect an episode, which the agent has observed; train nothing; evaluate the return. The replay
is left to the reader.
"""

import json
import pathlib
import shutil

import gin
import numpy as np
from absl import flags

from asm_tf import configurables
from asm_tf.errors import UserError
from asm_tf.models.unrolling import made_for
from asm_tf.training.trainer import Trainer
from benchmarks import tpu_programs
from benchmarks.export_programs import specs_of
from benchmarks.time_to_score import stored_reference
from launch import command_line


def define_flags():
  flags.DEFINE_enum('model', 'lstm', tpu_programs.MODELS,
                    'Which world model: that of gin/myriad_<model>.gin.')
  flags.DEFINE_string('system', 'HIVTreatment', 'Which Myriad system.')
  flags.DEFINE_integer('horizon', 500, 'H.', lower_bound=2)
  flags.DEFINE_integer('seed', 0, 'Of the run.', lower_bound=0)
  flags.DEFINE_string('out', 'runs/gpu_training', 'Folder of the programs.')


def main():
  given, folder = flags.FLAGS, pathlib.Path(flags.FLAGS.out)
  if folder.exists():
    raise UserError(f'--out={folder} exists: give the path of a folder that is to be made.')
  command_line.make_folder(folder.parent)
  programs, values, run = training(given.model, given.system, given.horizon, given.seed)
  draft = folder.with_name(folder.name + '.tmp')
  shutil.rmtree(draft, ignore_errors=True)
  draft.mkdir()
  for name, hlo in programs.items():
    (draft / f'{name}.hlo').write_bytes(hlo)
  np.savez(draft / 'variables.npz', *values)
  (draft / 'run.json').write_text(json.dumps(run), encoding='utf-8')
  draft.rename(folder)


def training(model, system, horizon, seed=0):
  """({program: serialized HLO}, the variables' first values, what the loop must know)."""
  import tensorflow as tf
  command_line.parse_gin([f'gin/myriad_{model}.gin'],
                         [f'SYSTEM = @{system}', f'HORIZON = {horizon}'])
  reference = stored_reference(system, horizon)
  tf.keras.utils.set_random_seed(seed)
  with made_for(accelerator=True):
    trainer = gin.get_configurable(Trainer)(
        gin.get_configurable(system)(horizon), gin.get_configurable(configurables.make_asm_agent),
        seed=seed)
    spec = trainer.agent.collect_data_spec
    batch = tf.nest.flatten(specs_of(spec, trainer.batch_size, horizon + 1))
    functions = {
        'warm_up': (_observing(trainer, trainer.warm_up), []),
        'collect': (_observing(trainer, trainer.collect), []),
        'train': (training_step(trainer.agent, spec), batch),
        'evaluate': (_evaluation(trainer.system, trainer.agent), [])}
    variables = variables_of(functions)
    programs = {name: _hlo(function, variables, specs)
                for name, (function, specs) in functions.items()}
  run = {'model': model, 'system': system, 'horizon': horizon, 'seed': seed,
         'random': reference.random, 'optimal': reference.optimal,
         'batch_size': trainer.batch_size, 'model_period': trainer.model_period,
         'warmup_steps': trainer.warmup_steps}
  return programs, [variable.numpy() for variable in variables], run


def _observing(trainer, act):
  """A function that acts for an episode, has the agent observe it, and returns its parts."""
  def episode():
    import tensorflow as tf
    act()
    collected = trainer.last_episode()
    trainer.agent.observe(collected)
    return tf.nest.flatten(collected)

  return episode


def training_step(agent, spec):
  """A function of the parts of a batch that makes an update."""
  def train(*parts):
    import tensorflow as tf
    agent.train(tf.nest.pack_sequence_as(spec, parts))
    return []

  return train


def _evaluation(system, agent):
  import tensorflow as tf
  from tf_agents.drivers.dynamic_episode_driver import DynamicEpisodeDriver

  from asm_tf.environments.make_environment import make_environment
  from asm_tf.replay import episode_steps
  from asm_tf.replay.episode_accumulator import EpisodeAccumulator
  accumulator = EpisodeAccumulator(agent.policy.trajectory_spec, 1, system.horizon + 1)
  driver = DynamicEpisodeDriver(make_environment(system), agent.policy, [accumulator])

  def evaluate():
    driver.run()
    return [tf.squeeze(episode_steps.returns(accumulator.latest()), 0)]

  return evaluate


def variables_of(functions):
  """Every variable that one of the functions uses, once."""
  import tensorflow as tf
  used = {}
  for function, specs in functions.values():
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    used |= {id(variable.handle): variable for variable in concrete.variables}
  return list(used.values())


def pure(function, variables):
  """The function of the variables' values and its own arguments: new values, then its results."""
  import tensorflow as tf

  @tf.function(jit_compile=True, autograph=False)
  def of_values(*tensors):
    for variable, value in zip(variables, tensors, strict=False):
      variable.assign(value)
    results = function(*tensors[len(variables):])
    return [variable.read_value() for variable in variables] + results

  return of_values


def _hlo(function, variables, specs):
  return pure(function, variables).experimental_get_compiler_ir(
      *specs_of(variables), *specs)(stage='hlo_serialized')


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
