"""One training run: collect, fit the model, improve the policy, evaluate, record."""

import contextlib
import dataclasses
import functools
import logging
import re
from collections.abc import Callable

import gin
import tensorflow as tf
from tf_agents.agents import tf_agent

from asm_tf import gin_files, memory
from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.execution import Execution
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.errors import UserError
from asm_tf.systems.system import System
from asm_tf.training import failed_writes
from asm_tf.training.checkpointer import Checkpointer
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.profiler import Profiler
from asm_tf.training.recorder import Recorder
from asm_tf.training.run_folder import RunFolder
from asm_tf.training.saved_models import save_policy, save_world_model
from asm_tf.training.stop_signal import StopSignal
from asm_tf.training.trainer import Trainer
from asm_tf.training.training_loop import TrainingLoop
from asm_tf.training.workers import Workers

_LOG = logging.getLogger('asm_tf')


@dataclasses.dataclass(frozen=True)
class RunOptions:
  """What a command line decides about a run, and a gin file does not.

  Attributes:
    root_dir: the run's folder.
    resume: go on with the run in the folder, if there is one.
    profile: write a TensorBoard profile of the first iterations after compilation.
    strategy: tf.distribute strategy whose replicas share every batch; None for one device.
    command_line: what the command line said, kept in the folder.
  """

  root_dir: str
  resume: bool = False
  profile: bool = False
  strategy: tf.distribute.Strategy | None = None
  command_line: dict | None = None


def train(options: RunOptions, system: Callable[[int], System | GymnasiumSystem],
          horizon: int | None, make_agent: Callable[[AgentSetup], tf_agent.TFAgent], seed: int = 0,
          make_trainer: Callable[..., Trainer] = Trainer,
          make_loop: Callable[..., TrainingLoop] = TrainingLoop,
          make_execution: Callable[..., Execution] = Execution) -> dict:
  """Trains an agent and leaves a run folder.

  Args:
    options: of the command line.
    system: class of `System`, or `GymnasiumSystem`.
    horizon: H; None for a Gymnasium environment's own.
    make_agent: see `Trainer`.
    seed: of everything random.
    make_trainer: class of trainer.
    make_loop: class of the training loop, which knows the length of the run.
    make_execution: class of `Execution`.

  Returns:
    The run's summary.

  Raises:
    UserError: for bad input, before anything is overwritten.
    Stopped: after SIGTERM or Ctrl-C; the run can be resumed.
    LostWorkers: if another worker of the strategy is gone; the run can be resumed.
  """
  loop = make_loop()
  workers = Workers(options.strategy)
  folder = RunFolder(workers.folder(options.root_dir), options.resume)
  execution = make_execution(options.strategy)
  tf.keras.utils.set_random_seed(seed)
  if not isinstance(system, (functools.partial, type)):
    raise UserError(f'the system is {system!r}: give a class, such as SYSTEM=@CancerTreatment.')
  # A full disk is a shortage too, to TensorFlow: the context of failed writes sees it first.
  with (contextlib.closing(folder), workers.watching_peers(), memory.shortage_reported(),
        failed_writes.reported(folder.path)):
    # Created first, so that its variables are the first that workers exchange.
    trainer = make_trainer(
        system(horizon), make_agent=make_agent, seed=seed, execution=execution)
    memory.require_memory(
        trainer.replay.most_bytes(loop.num_env_steps), 'the replay of this run', 'give a capacity, '
        f'{type(trainer.replay).__name__}.capacity, or smaller observations')
    if loop.num_env_steps <= trainer.warmup_steps:
      _LOG.warning('nothing will be learned: the run ends after %d environment steps, and the '
                   'first %d explore at random (Trainer.warmup_steps).', loop.num_env_steps,
                   trainer.warmup_steps)
    folder.open(options.command_line)
    workers.require_same(gin.config_str())
    _train(folder, trainer, loop, workers, seed, options)
    return folder.write_summary(seed)


def _name_what_is_not_read(command_line):
  """Warns of bindings of the command line that no part of the run, all of it built, has read."""
  in_effect = gin.operative_config_str()
  for binding in command_line.get('gin_bindings', ()):
    name, value = gin_files.parts_of(binding)
    if value and not re.search(rf'(^|[./]){re.escape(name)} =', in_effect, re.MULTILINE):
      _LOG.warning('--gin_bindings=%s=... changes nothing: no part of this run reads it.', name)


def _train(folder, trainer, loop, workers, seed, options):
  """Trains from the newest checkpoint to the end, and saves what was learned."""
  evaluator = Evaluator(trainer.system, lambda *_: trainer.agent.policy, seed)
  checkpointer = Checkpointer(trainer, folder.path / 'checkpoints', workers)
  wall_seconds = checkpointer.restore(len(folder.rows_left()))
  if trainer.env_steps - loop.num_env_steps >= trainer.system.horizon:
    raise UserError(f'{folder.path} holds a run of {trainer.env_steps} environment steps, more '
                    f'than {loop.num_env_steps}: resume it for as many at least, or give another '
                    '--root_dir.')
  rows = folder.begin(None if wall_seconds is None else trainer.env_steps)
  _name_what_is_not_read(options.command_line or {})
  recorder = Recorder(folder, trainer.system, loop.num_env_steps, wall_seconds or 0.0,
                      trainer.env_steps, rows, show_bar=workers.index == 0)
  profiler = Profiler(trainer, folder.path / 'train', options.profile)
  with contextlib.closing(recorder), contextlib.closing(profiler), StopSignal() as stop:
    recorder.write_config(options.command_line)
    loop.run(trainer, evaluator, recorder, checkpointer, profiler,
             lambda: max(workers.all_gather(stop.signal_number)))
  save_policy(trainer.agent.policy, folder.path / 'policy')
  save_world_model(trainer.agent, trainer.system, folder.path / 'world_model')
