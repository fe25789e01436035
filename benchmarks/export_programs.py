"""The programs that a training run compiles, in the form that an accelerator gets, as HLO files.

    python -m benchmarks.export_programs --model=lstm --horizon=100 --out=/tmp/programs

The agent is built from gin as `launch.main` builds it, with a learned reward and the gradient
comparison, and its update and its observation of an episode are traced: whatever its `Execution`
is asked to compile on the way is written to <out>/<program>.hlo. Nothing is executed and no
accelerator is needed. With --chips each program is that of one of so many replicas: it takes its
share of the batch, and what it returns is averaged over them.
"""

import functools
import pathlib

import gin
from absl import flags

from asm_tf import configurables
from asm_tf.agents.execution import Execution
from asm_tf.errors import UserError
from asm_tf.models.unrolling import made_for
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training.trainer import Trainer
from benchmarks import tpu_programs
from benchmarks.table_1 import BATCH, POLICY_BATCH
from launch import command_line


def define_flags():
  flags.DEFINE_enum('model', 'lstm', tpu_programs.MODELS,
                    'Which world model: that of gin/myriad_<model>.gin.')
  flags.DEFINE_integer('horizon', 100, 'H.', lower_bound=2)
  flags.DEFINE_string('dtype', 'float32', 'Of the products: float32 or bfloat16.')
  flags.DEFINE_integer('times', 1, "How many times Table 1's batches.", lower_bound=1)
  flags.DEFINE_integer('chips', 1, 'Replicas that share the batches.', lower_bound=1)
  flags.DEFINE_bool('learned_reward', True, "Learn the reward; else it is the system's own.")
  flags.DEFINE_string('out', None, 'Folder of the programs.', required=True)


def main():
  given = flags.FLAGS
  folder = pathlib.Path(given.out)
  command_line.make_folder(folder)
  for name, hlo in programs(
      given.model, given.horizon, given.dtype, given.times, given.chips,
      given.learned_reward).items():
    command_line.write_in_one_step(folder / f'{name}.hlo', lambda part, hlo=hlo: (
        part.write_bytes(hlo)))


class Recorder(Execution):
  """Notes what is compiled, and what it is called with.

  Attributes:
    programs: {module.function: (compiled function, its arguments when it was traced)}.
  """

  def __init__(self, chips=1):
    super().__init__()
    self.programs = {}
    self._chips = chips

  def gradient_program(self, function, microbatch_size=None):
    return super().gradient_program(
        function if self._chips == 1 else _averaged(function, self._chips), microbatch_size)

  def compiled(self, function, jit_compile):
    program = super().compiled(function, jit_compile)
    name = f'{function.__module__.split(".")[-1]}.{function.__name__.lstrip("_")}'

    def call(*arguments):
      self.programs[name] = program, arguments
      return program(*arguments)

    return call


def _averaged(function, chips):
  """The function on one replica, whose value is the mean over all."""
  import tensorflow as tf  # after asm_tf, which has it take Keras 2
  from tensorflow.compiler.tf2xla.ops import gen_xla_ops
  group = [list(range(chips))]

  @functools.wraps(function)
  def on_replica(*shard):
    def mean(value):
      return gen_xla_ops.xla_all_reduce(value, group, 'Add', 'CrossReplica') / chips

    return tf.nest.map_structure(mean, function(*shard))

  return on_replica


def programs(model, horizon, dtype='float32', times=1, chips=1, learned_reward=True,
             bindings=()):
  """{program: serialized HLO} of an agent as gin/myriad_<model>.gin builds it.

  Args:
    model: of the gin file.
    horizon: H.
    dtype: of the products.
    times: how many times the batches of Table 1.
    chips: that share the batches.
    learned_reward: whether the reward is learned; else it is the system's.
    bindings: further gin bindings.
  """
  import tensorflow as tf
  for name, size in (('model', BATCH), ('policy', POLICY_BATCH)):
    if size * times % chips:
      raise UserError(f'{chips} chips cannot share the {size * times} trajectories of a {name} '
                      'update equally: give another --chips.')
  command_line.parse_gin(
      [f'gin/myriad_{model}.gin', *(['gin/agents/learned_reward.gin'] if learned_reward else [])],
      [f'HORIZON = {horizon}', f"Execution.product_dtype = '{dtype}'",
       'GradientComparison.period = 1',
       f'PolicyLearner.batch_size = {POLICY_BATCH * times // chips}', *bindings])
  with made_for(accelerator=True):
    recorder = Recorder(chips)
    trainer = gin.get_configurable(Trainer)(
        CancerTreatment(horizon), gin.get_configurable(configurables.make_asm_agent), seed=0,
        execution=recorder)
    agent = trainer.agent
    for function, batch in ((agent.observe, 1), (agent.train, BATCH * times // chips)):
      tf.function(function, autograph=False).get_concrete_function(
          specs_of(agent.collect_data_spec, batch, horizon + 1))
    return {name: _hlo(*noted) for name, noted in recorder.programs.items()}


def specs_of(nest, *outer):
  """The specs of the tensors of a nest, behind further axes."""
  import tensorflow as tf
  return tf.nest.map_structure(
      lambda tensor: tf.TensorSpec([*outer, *tensor.shape], tensor.dtype), nest)


def _hlo(program, arguments):
  import tensorflow as tf
  flat = tf.nest.flatten(specs_of(arguments))

  @tf.function(jit_compile=True, autograph=False)
  def of_flat(*tensors):
    return program(*tf.nest.pack_sequence_as(arguments, tensors))

  return of_flat.experimental_get_compiler_ir(*flat)(stage='hlo_serialized')


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
