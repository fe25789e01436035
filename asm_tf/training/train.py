"""One training run: collect, fit the model, improve the policy, evaluate, record."""

import contextlib
import functools
import signal

import gin
import tensorflow as tf

from asm_tf.errors import UserError, require_at_least
from asm_tf.models.products import multiply_in
from asm_tf.training import failed_writes
from asm_tf.training.checkpointer import Checkpointer
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.recorder import Recorder
from asm_tf.training.run_folder import RunFolder
from asm_tf.training.saved_models import save_policy, save_world_model
from asm_tf.training.trainer import Trainer
from asm_tf.training.workers import Workers

_EVALUATIONS_A_PICTURE = 5
_PROFILED_ITERATIONS = 3


class Stopped(Exception):
  """A signal asked the run to stop, and it was saved.

  Attributes:
    exit_code: 128 + the signal's number, as shells have it.
  """

  def __init__(self, signal_number):
    super().__init__()
    self.exit_code = 128 + signal_number


def train(root_dir, resume, system, horizon, num_env_steps, make_agent, seed=0,
          make_trainer=Trainer, eval_interval=1000, checkpoint_interval=5000, profile=False,
          asked=None, strategy=None, product_dtype='float32'):
  """Trains an agent and leaves a run folder.

  Args:
    root_dir: the run's folder.
    resume: go on with the run in the folder, if there is one.
    system: class of `System`, or `GymnasiumSystem`.
    horizon: H.
    num_env_steps: environment steps of the run, rounded up to whole episodes.
    make_agent: see `Trainer`.
    seed: of everything random.
    make_trainer: class of trainer.
    eval_interval: environment steps between evaluations.
    checkpoint_interval: environment steps between checkpoints.
    profile: write a TensorBoard profile of the first iterations after compilation.
    asked: dict of what the command line said, kept in the folder.
    strategy: see `Trainer`.
    product_dtype: 'bfloat16' rounds the operands of the products inside learned models (see
      asm_tf/models/products.py).

  Returns:
    The run's summary, a dict.

  Raises:
    UserError: for bad input, before anything is overwritten.
    Stopped: after SIGTERM or Ctrl-C; the run can be resumed.
    LostWorkers: if another worker of the strategy is gone; the run can be resumed.
  """
  require_at_least(1, num_env_steps=num_env_steps, eval_interval=eval_interval,
                   checkpoint_interval=checkpoint_interval)
  workers = Workers(strategy)
  folder = RunFolder(workers.folder(root_dir), resume)
  multiply_in(product_dtype)
  tf.keras.utils.set_random_seed(seed)
  if not (isinstance(system, functools.partial) or isinstance(system, type)):
    raise UserError(f'the system is {system!r}: give a class, such as SYSTEM=@CancerTreatment.')
  system = system(horizon)
  with contextlib.closing(folder), failed_writes.named(folder.path), workers.together():
    # Its variables are the first that workers tell each other.
    trainer = make_trainer(system, make_agent=make_agent, seed=seed, strategy=strategy)
    folder.open(asked)
    workers.require_same(gin.config_str())
    _train(folder, system, trainer, workers, num_env_steps, eval_interval, checkpoint_interval,
           seed, profile)
    return folder.write_summary(seed)


def _train(folder, system, trainer, workers, num_env_steps, eval_interval, checkpoint_interval,
           seed, profile):
  """Trains on from the newest checkpoint to the end, and saves what was learned."""
  evaluator = Evaluator(system, lambda *_: trainer.agent.policy, seed)
  checkpointer = Checkpointer(trainer, folder.path / 'checkpoints', workers)
  wall_seconds = checkpointer.restore(len(folder.rows_left()))
  rows = folder.begin(None if wall_seconds is None else trainer.env_steps)
  evaluated = rows[-1]['env_steps'] if rows else -1
  recorder = Recorder(folder, system, num_env_steps, wall_seconds or 0.0, trainer.env_steps, rows,
                      has_bar=workers.index == 0)
  profiled = _Profiled(trainer, folder.path / 'train', profile)
  with contextlib.closing(recorder), contextlib.closing(profiled), _StopSignal() as stop:
    recorder.write_config()
    _loop(trainer, profiled.iterate, evaluator, recorder, checkpointer,
          lambda: max(workers.values(stop.signal_number)), num_env_steps, eval_interval,
          checkpoint_interval, evaluated)
  save_policy(trainer.agent.policy, folder.path / 'policy')
  save_world_model(trainer.agent, system, folder.path / 'world_model')


def _loop(trainer, iterate, evaluator, recorder, checkpointer, stop_signal, num_env_steps,
          eval_interval, checkpoint_interval, evaluated):
  """Trains to the end; `evaluated` is the step of the last row, -1 before the first."""
  saved = trainer.env_steps
  while True:
    steps = trainer.env_steps
    is_last = steps >= num_env_steps
    if trainer.is_between_episodes:
      if steps // eval_interval > evaluated // eval_interval or (is_last and evaluated < steps):
        evaluation = evaluator.evaluate()
        recorder.record(trainer, evaluation)
        if is_last or steps // eval_interval % _EVALUATIONS_A_PICTURE == 0:
          recorder.draw(steps, evaluation)
        evaluated = steps
      if steps // checkpoint_interval > saved // checkpoint_interval or is_last:
        recorder.save(checkpointer)
        saved = steps
      if is_last:
        return
    if signal_number := stop_signal():
      recorder.save(checkpointer)
      raise Stopped(signal_number)
    if trainer.gets_nothing:
      recorder.save(checkpointer)
      raise UserError(
          f'the last episodes of {trainer.system.name} all hold numbers that are not finite '
          f'({trainer.dropped_episodes} episodes were left out so far): mend its dynamics or '
          'reward, then go on with --resume; the run is saved.')
    iterate()
    recorder.show_progress(trainer.env_steps)


class _Profiled:
  """Iterates a trainer, and traces the first iterations that have no more to compile."""

  def __init__(self, trainer, folder, profile):
    self._trainer, self._folder = trainer, str(folder)
    self._left = _PROFILED_ITERATIONS if profile else 0
    self._tracing = False

  def iterate(self):
    if self._left == 0 or self._trainer.updates == 0:
      self._trainer.iterate()
      return
    if not self._tracing:
      tf.profiler.experimental.start(self._folder)
      self._tracing = True
    self._trainer.iterate()
    self._left -= 1
    if self._left == 0:
      self.close()

  def close(self):
    """Writes the profile, that of fewer iterations where the run was stopped among them."""
    if self._tracing:
      self._tracing = False
      tf.profiler.experimental.stop()


class _StopSignal:
  """Remembers SIGTERM or Ctrl-C, to be acted on between two iterations; 0 before."""

  def __init__(self):
    self.signal_number = 0
    self._previous = {}

  def __enter__(self):
    for number in (signal.SIGTERM, signal.SIGINT):
      self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_):
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _handle(self, number, _):
    self.signal_number = number
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C is final
