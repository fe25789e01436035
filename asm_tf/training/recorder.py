"""What a user sees of a run: rows, TensorBoard and a progress bar."""

import contextlib
import io
import sys
import time
from collections.abc import Sequence

import gin
import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api as hparams
from tqdm import tqdm

from asm_tf.environments import scores
from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.plots.trajectory import draw_trajectory
from asm_tf.systems.system import System
from asm_tf.training import exploitation
from asm_tf.training.checkpointer import Checkpointer
from asm_tf.training.curves import CURVES, Curve
from asm_tf.training.evaluator import Evaluation
from asm_tf.training.hyperparameters import hyperparameters
from asm_tf.training.run_folder import RunFolder
from asm_tf.training.trainer import Trainer

_EVAL = ('return', 'normalised_score', 'episode_length')


class Recorder:
  """Writes each evaluation to metrics.jsonl, TensorBoard and the progress bar.

  Attributes:
    evaluated_steps: environment steps of the last row; -1 before the first.
  """

  def __init__(self, folder: RunFolder, system: System | GymnasiumSystem, num_env_steps: int,
               wall_seconds: float = 0.0, env_steps: int = 0, rows: Sequence[dict] = (),
               show_bar: bool = True):
    """Opens the event files and the bar.

    Args:
      folder: of the run.
      system: what is controlled.
      num_env_steps: length of the run.
      wall_seconds: spent before a resume.
      env_steps: taken before a resume.
      rows: recorded before a resume.
      show_bar: whether to show the progress bar.
    """
    self._folder = folder
    self._system = system
    self._reference = scores.reference_for(system)
    self.evaluated_steps = rows[-1]['env_steps'] if rows else -1
    self._optimal = scores.optimal_trajectory(system)
    drawn = {name: _drop_events_after(folder.path / name, env_steps if wall_seconds > 0 else -1)
             for name in ('train', 'eval')}
    self._writers = {name: tf.summary.create_file_writer(str(folder.path / name))
                     for name in ('train', 'eval')}
    for name, points in drawn.items():  # restores what a damaged event file has lost
      for row in rows:
        self._write_summaries(row, name, points)
    self._exploitation = exploitation.ExploitationWarning(rows)
    self._began = time.monotonic() - wall_seconds
    self._last = (time.monotonic(), env_steps, None)
    self._bar = tqdm(total=num_env_steps, initial=env_steps, unit='step', smoothing=0.1,
                     dynamic_ncols=True, disable=not show_bar,
                     mininterval=0.5 if sys.stderr.isatty() else 10)

  @property
  def wall_seconds(self) -> float:
    """Seconds of the run, including those before a resume."""
    return time.monotonic() - self._began

  def show_progress(self, env_steps: int) -> None:
    """Moves the bar."""
    self._bar.update(min(env_steps, self._bar.total) - self._bar.n)  # more has no percentage

  def record(self, trainer: Trainer, evaluation: Evaluation) -> None:
    """Records one evaluation."""
    score = None
    if self._reference is not None:
      score = float(scores.normalised_score(evaluation.mean_return, self._reference))
    row = {
        'env_steps': trainer.env_steps, 'updates': trainer.updates,
        'return': evaluation.mean_return, 'normalised_score': score,
        'episode_length': evaluation.mean_length,
        'collect_return': trainer.collect_return,
        'dropped_episodes': trainer.dropped_episodes, **trainer.metrics(),
        **self._speeds(trainer), 'wall_seconds': self.wall_seconds}
    row['imagination_excess'] = exploitation.excess(row)
    self._exploitation.observe(row)
    self._folder.append_row(row)
    self.evaluated_steps = row['env_steps']
    for name in self._writers:
      self._write_summaries(row, name)
    shown = ({'return': f'{evaluation.mean_return:.5g}'} if score is None
             else {'score': f'{score:.4f}'})
    if exploitation.parts(row):
      shown['imagination'] = 'parts from reality'
    self._bar.set_postfix(shown, refresh=False)

  def draw(self, env_steps: int, evaluation: Evaluation) -> None:
    """Writes a picture of the evaluated trajectory and the optimal one to TensorBoard."""
    figure = draw_trajectory(self._system, evaluation.states, evaluation.actions, self._optimal)
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=100)
    figure.clear()  # its parts refer to each other, and would keep megabytes until a collection
    with self._default_writer('eval', env_steps):
      tf.summary.image('trajectory', tf.image.decode_png(buffer.getvalue(), 4)[None])

  def save(self, checkpointer: Checkpointer) -> None:
    """Saves a checkpoint that follows on the rows written so far."""
    checkpointer.save(self.wall_seconds, self._folder.num_rows)

  def write_config(self, command_line: dict | None = None) -> None:
    """Writes the operative configuration to the folder and to TensorBoard.

    Args:
      command_line: what the command line said; TensorBoard compares runs by it.
    """
    self._folder.write_operative_config()
    with self._default_writer('train', 0):
      tf.summary.text('gin/operative_config', gin.markdown(gin.operative_config_str()))
    with self._default_writer('eval', 0):
      # TensorBoard averages runs of one trial: two sweeps may have runs of one name.
      hparams.hparams(hyperparameters(command_line or {}),
                      trial_id=str(self._folder.path.absolute()))

  def close(self) -> None:
    """Closes the bar and the event files."""
    self._bar.close()
    for writer in self._writers.values():
      writer.close()

  def _speeds(self, trainer):
    now, (then, steps, updates) = time.monotonic(), self._last
    self._last = (now, trainer.env_steps, trainer.updates)
    if updates is None:  # the first row after a start has no predecessor
      return {'env_steps_per_second': None, 'updates_per_second': None}
    return {'env_steps_per_second': (trainer.env_steps - steps) / (now - then),
            'updates_per_second': (trainer.updates - updates) / (now - then)}

  def _write_summaries(self, row, name, drawn=()):
    """Writes the points of a row, except those already `drawn`, (env_steps, tag) each."""
    with self._default_writer(name, row['env_steps']):
      for key, value in row.items():
        belongs = (key in _EVAL) == (name == 'eval')
        is_curve = key not in ('env_steps', 'wall_seconds')
        curve = CURVES.get(key, Curve(f'Losses/{key}', ''))
        if (belongs and is_curve and value is not None and np.isfinite(value)
            and (row['env_steps'], curve.tag) not in drawn):
          tf.summary.scalar(curve.tag, value, description=curve.description)

  @contextlib.contextmanager
  def _default_writer(self, name, step):
    """Makes a writer TensorFlow's default within the context, and flushes it.

    TensorFlow flushes a default writer last, and keeps it as the default for good where that
    fails; a writer that was closed before flushes nothing.
    """
    writer = self._writers[name]
    with writer.as_default(step=step):
      try:
        yield
        writer.flush()
      except tf.errors.OpError:
        with contextlib.suppress(tf.errors.OpError):
          writer.close()
        raise


def _drop_events_after(folder, step):
  """Rewrites a folder's event files without the points after `step`.

  A resumed run makes those points again; TensorBoard would draw both.

  Returns:
    The remaining points, (step, tag) each.
  """
  files = sorted(folder.glob('events.out.tfevents.*'))
  records = [record for file in files for record in _whole_records(file)]
  events = [event_pb2.Event.FromString(record) for record in records]
  kept = [record for record, event in zip(records, events, strict=True) if event.step <= step]
  if files:
    draft = folder / 'resumed.tmp'
    with tf.io.TFRecordWriter(str(draft)) as writer:
      for record in dict.fromkeys(kept):  # each once: a kill may have left two copies
        writer.write(record)
    draft.replace(files[0])
    for file in files[1:]:
      file.unlink()
  return {(event.step, value.tag) for event in events for value in event.summary.value
          if event.step <= step}


def _whole_records(file):
  """The records of an event file, up to one that a kill may have truncated."""
  try:
    yield from tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
  except tf.errors.DataLossError:
    return
