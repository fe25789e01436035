"""One training run: collect, fit the model, improve the policy, evaluate, record."""

import contextlib
import signal
import warnings

import tensorflow as tf
from tf_agents.policies import policy_saver

from asm_tf.errors import require_at_least
from asm_tf.training.checkpointer import Checkpointer
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.memory import keep_freed_memory
from asm_tf.training.recorder import Recorder
from asm_tf.training.run_folder import RunFolder
from asm_tf.training.trainer import Trainer


class Stopped(Exception):
  """A signal asked the run to stop, and it was saved.

  Attributes:
    exit_code: 128 + the signal's number, as shells have it.
  """

  def __init__(self, signal_number):
    super().__init__()
    self.exit_code = 128 + signal_number


def train(root_dir, resume, system, horizon, num_env_steps, make_agent, seed=0,
          make_trainer=Trainer, eval_interval=1000, checkpoint_interval=5000):
  """Trains an agent and leaves a run folder.

  Args:
    root_dir: the run's folder.
    resume: go on with the run in the folder, if there is one.
    system: class of `System`.
    horizon: H.
    num_env_steps: environment steps of the run, rounded up to whole episodes.
    make_agent: see `Trainer`.
    seed: of everything random.
    make_trainer: class of trainer.
    eval_interval: environment steps between evaluations.
    checkpoint_interval: environment steps between checkpoints.

  Returns:
    The run's summary, a dict.

  Raises:
    UserError: for bad input, before anything is overwritten.
    Stopped: after SIGTERM or Ctrl-C; the run can be resumed.
  """
  require_at_least(1, num_env_steps=num_env_steps, eval_interval=eval_interval,
                   checkpoint_interval=checkpoint_interval)
  folder = RunFolder(root_dir, resume)
  keep_freed_memory()
  tf.keras.utils.set_random_seed(seed)
  system = system(horizon)
  trainer = make_trainer(system, make_agent=make_agent, seed=seed)
  evaluator = Evaluator(system, lambda *_: trainer.agent.policy, seed)
  folder.create()
  checkpointer = Checkpointer(trainer, folder.path / 'checkpoints')
  wall_seconds = checkpointer.restore()
  folder.truncate_rows(trainer.env_steps if wall_seconds is not None else -1)
  recorder = Recorder(folder, system, num_env_steps, wall_seconds or 0.0, trainer.env_steps)
  with contextlib.closing(recorder), _StopSignal() as stop:
    _loop(trainer, evaluator, recorder, checkpointer, stop, num_env_steps, eval_interval,
          checkpoint_interval, is_new=wall_seconds is None)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # about types that only TF-Agents reads
    policy_saver.PolicySaver(trainer.agent.policy, batch_size=None).save(
        str(folder.path / 'policy'))
  return folder.write_summary(seed)


def _loop(trainer, evaluator, recorder, checkpointer, stop, num_env_steps, eval_interval,
          checkpoint_interval, is_new):
  if is_new:
    recorder.record(trainer, evaluator.evaluate())
    recorder.write_config()
  evaluated = saved = trainer.env_steps
  while trainer.env_steps < num_env_steps or not trainer.is_between_episodes:
    trainer.iterate()
    steps = trainer.env_steps
    recorder.show_progress(steps)
    if stop.signal_number is not None:
      checkpointer.save(recorder.wall_seconds)
      raise Stopped(stop.signal_number)
    if not trainer.is_between_episodes:
      continue
    is_last = steps >= num_env_steps
    if steps // eval_interval > evaluated // eval_interval or is_last:
      recorder.record(trainer, evaluator.evaluate())
      evaluated = steps
    if steps // checkpoint_interval > saved // checkpoint_interval or is_last:
      checkpointer.save(recorder.wall_seconds)
      saved = steps


class _StopSignal:
  """Remembers SIGTERM or Ctrl-C, to be acted on between two iterations."""

  def __init__(self):
    self.signal_number = None
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
