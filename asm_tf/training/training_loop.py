"""When a run is evaluated, saved and stopped."""

import contextlib
import gc
from collections.abc import Callable, Iterator

from asm_tf.errors import UserError, require_at_least
from asm_tf.training.checkpointer import Checkpointer
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.profiler import Profiler
from asm_tf.training.recorder import Recorder
from asm_tf.training.stop_signal import Stopped
from asm_tf.training.trainer import Trainer

_EVALUATIONS_PER_PICTURE = 5


class TrainingLoop:
  """The length of a run, and how often it is evaluated and saved.

  Attributes:
    num_env_steps: environment steps of the run.
  """

  def __init__(self, num_env_steps: int, eval_interval: int = 1000,
               checkpoint_interval: int = 5000):
    """Checks the settings.

    Args:
      num_env_steps: environment steps of the run, rounded up to whole episodes.
      eval_interval: environment steps between evaluations.
      checkpoint_interval: environment steps between checkpoints.
    """
    require_at_least(1, **{'TrainingLoop.num_env_steps': num_env_steps,
                           'TrainingLoop.eval_interval': eval_interval,
                           'TrainingLoop.checkpoint_interval': checkpoint_interval})
    self.num_env_steps = num_env_steps
    self._eval_interval = eval_interval
    self._checkpoint_interval = checkpoint_interval

  def run(self, trainer: Trainer, evaluator: Evaluator, recorder: Recorder,
          checkpointer: Checkpointer, profiler: Profiler,
          stop_signal: Callable[[], int]) -> None:
    """Trains from where the trainer is to the end.

    Args:
      trainer: new, or restored from a checkpoint.
      evaluator: of its policy.
      recorder: takes the evaluations.
      checkpointer: saves the trainer.
      profiler: iterates the trainer.
      stop_signal: function () -> the number of a signal to stop, or 0.

    Raises:
      Stopped: after a signal; the run is saved.
      UserError: if the system yields no episode to learn from; the run is saved.
    """
    saved, is_traced = trainer.env_steps, False
    with contextlib.ExitStack() as stack:
      while True:
        steps = trainer.env_steps
        is_last = steps >= self.num_env_steps
        if trainer.is_between_episodes:
          if self._evaluation_is_due(steps, recorder.evaluated_steps, is_last):
            self._evaluate(trainer, evaluator, recorder, is_last)
          if steps // self._checkpoint_interval > saved // self._checkpoint_interval or is_last:
            recorder.save(checkpointer)
            saved = steps
          if is_last:
            return
        if signal_number := stop_signal():
          recorder.save(checkpointer)
          raise Stopped(signal_number)
        if trainer.only_drops_episodes:
          recorder.save(checkpointer)
          raise UserError(
              f'the last episodes of {trainer.system.name} all hold numbers that are not finite, '
              f'or 1e12 or more ({trainer.dropped_episodes} episodes were left out so far): mend '
              'its dynamics or reward, then go on with --resume; the run is saved.')
        profiler.iterate()
        recorder.show_progress(trainer.env_steps)
        if trainer.updates and not is_traced:
          stack.enter_context(_graphs_set_aside())
          is_traced = True

  def _evaluation_is_due(self, steps, evaluated, is_last):
    interval = self._eval_interval
    return steps // interval > evaluated // interval or (is_last and evaluated < steps)

  def _evaluate(self, trainer, evaluator, recorder, is_last):
    evaluation = evaluator.evaluate()
    recorder.record(trainer, evaluation)
    if is_last or trainer.env_steps // self._eval_interval % _EVALUATIONS_PER_PICTURE == 0:
      recorder.draw(trainer.env_steps, evaluation)


@contextlib.contextmanager
def _graphs_set_aside() -> Iterator[None]:
  """A context in which Python's collector leaves alone what there is.

  Tracing makes millions of objects that live as long as their graph. While they count, the
  collector waits for a quarter as many new ones, and what pictures and checkpoints leave behind
  adds up to megabytes. Nothing happens where the process has set objects aside on its own.
  """
  if gc.get_freeze_count():
    yield
    return
  gc.collect()
  gc.freeze()
  gc.collect()  # from now on few are old
  try:
    yield
  finally:
    gc.unfreeze()
