"""What a user sees of a run: rows, TensorBoard and a progress bar."""

import contextlib
import io
import sys
import time

import gin
import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tqdm import tqdm

from asm_tf.environments import scores
from asm_tf.plots.trajectory import draw_trajectory

# Columns of metrics.jsonl and their TensorBoard tags; TF-Agents' names where it has one.
_TAGS = {
    'return': 'Metrics/AverageReturn',
    'normalised_score': 'Metrics/NormalisedScore',
    'episode_length': 'Metrics/AverageEpisodeLength',
    'collect_return': 'Metrics/AverageReturn',
    'updates': 'Metrics/Updates',
    'imagined_return': 'Metrics/ImaginedReturn',
    'policy_entropy': 'Policy/Entropy',
    'policy_gradient_norm': 'Policy/GradientNorm',
    'model_gradient_norm': 'Model/GradientNorm',
    'gradient_cosine': 'Policy/CosineWithSimulatorGradient',
    'gradient_relative_error': 'Policy/RelativeErrorToSimulatorGradient',
    'skipped_updates': 'Metrics/SkippedUpdates',
    'dropped_episodes': 'Metrics/DroppedEpisodes',
    'env_steps_per_second': 'RunTime/env_steps_per_sec',
    'updates_per_second': 'RunTime/train_steps_per_sec',
}
_EVAL = ('return', 'normalised_score', 'episode_length')


class Recorder:
  """Writes each evaluation to metrics.jsonl, TensorBoard and the progress bar."""

  def __init__(self, folder, system, num_env_steps, wall_seconds=0.0, env_steps=0, rows=(),
               has_bar=True):
    """Opens the event files and the bar.

    Args:
      folder: `RunFolder`.
      system: `System`.
      num_env_steps: length of the run.
      wall_seconds: spent before a resume.
      env_steps: done before a resume.
      rows: made before a resume.
      has_bar: show the bar.
    """
    self._folder = folder
    self._system = system
    self._reference = scores.reference_for(system)
    self._optimal = scores.optimal_trajectory(system)
    drawn = {name: _drop_events_after(folder.path / name, env_steps if wall_seconds > 0 else -1)
             for name in ('train', 'eval')}
    self._writers = {name: tf.summary.create_file_writer(str(folder.path / name))
                     for name in ('train', 'eval')}
    for name, points in drawn.items():  # what a damaged event file has lost is made again
      for row in rows:
        self._write_summaries(row, name, points)
    self._began = time.monotonic() - wall_seconds
    self._last = (time.monotonic(), env_steps, None)
    self._bar = tqdm(total=num_env_steps, initial=env_steps, unit='step', smoothing=0.1,
                     dynamic_ncols=True, disable=not has_bar,
                     mininterval=0.5 if sys.stderr.isatty() else 10)

  @property
  def wall_seconds(self):
    """Seconds of the run, those before a resume included."""
    return time.monotonic() - self._began

  def show_progress(self, env_steps):
    self._bar.update(env_steps - self._bar.n)

  def record(self, trainer, evaluation):
    """Records one evaluation."""
    score = None
    if self._reference is not None:
      score = float(scores.normalised_score(evaluation.mean_return, self._reference))
    row = {
        'env_steps': trainer.env_steps, 'updates': trainer.updates,
        'return': evaluation.mean_return, 'normalised_score': score,
        'episode_length': evaluation.mean_length,
        'collect_return': trainer.collect_return,
        'dropped_episodes': trainer.dropped_episodes, **trainer.losses(),
        **self._speeds(trainer), 'wall_seconds': self.wall_seconds}
    self._folder.append_row(row)
    for name in self._writers:
      self._write_summaries(row, name)
    if score is not None:
      self._bar.set_postfix(score=f'{score:.4f}', refresh=False)
    else:
      self._bar.set_postfix({'return': f'{evaluation.mean_return:.5g}'}, refresh=False)

  def draw(self, env_steps, evaluation):
    """Puts the evaluated trajectory, against the optimal one, into TensorBoard."""
    figure = draw_trajectory(self._system, evaluation.states, evaluation.actions, self._optimal)
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=100)
    with self._default_writer('eval', env_steps):
      tf.summary.image('trajectory', tf.image.decode_png(buffer.getvalue(), 4)[None])

  def save(self, checkpointer):
    """Saves a checkpoint that follows on the rows written so far."""
    checkpointer.save(self.wall_seconds, self._folder.num_rows)

  def write_config(self):
    """Puts the operative configuration beside the curves."""
    self._folder.write_operative_config()
    with self._default_writer('train', 0):
      tf.summary.text('gin/operative_config', gin.markdown(gin.operative_config_str()))

  def close(self):
    self._bar.close()
    for writer in self._writers.values():
      writer.close()

  def _speeds(self, trainer):
    now, (then, steps, updates) = time.monotonic(), self._last
    self._last = (now, trainer.env_steps, trainer.updates)
    if updates is None:  # the first row after a start has nothing to compare with
      return {'env_steps_per_second': None, 'updates_per_second': None}
    return {'env_steps_per_second': (trainer.env_steps - steps) / (now - then),
            'updates_per_second': (trainer.updates - updates) / (now - then)}

  def _write_summaries(self, row, name, drawn=()):
    """Draws a row's points but those that are `drawn`, (env_steps, tag) each."""
    with self._default_writer(name, row['env_steps']):
      for key, value in row.items():
        belongs = (key in _EVAL) == (name == 'eval')
        is_curve = key not in ('env_steps', 'wall_seconds')
        tag = _TAGS.get(key, f'Losses/{key}')
        if (belongs and is_curve and value is not None and np.isfinite(value)
            and (row['env_steps'], tag) not in drawn):
          tf.summary.scalar(tag, value)

  @contextlib.contextmanager
  def _default_writer(self, name, step):
    """Makes a writer TensorFlow's default for a while, and puts what it was given on the disk.

    TensorFlow flushes a default writer last, and leaves it the default for good where that
    fails; one that was closed before flushes nothing.
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
  """Rewrites a folder's event files without what lies after `step`.

  A resumed run makes those points again; TensorBoard would draw both.

  Returns:
    The points that are left, (step, tag) each.
  """
  files = sorted(folder.glob('events.out.tfevents.*'))
  records = [record for file in files for record in _whole_records(file)]
  events = [event_pb2.Event.FromString(record) for record in records]
  kept = [record for record, event in zip(records, events) if event.step <= step]
  if files:
    draft = folder / 'resumed.tmp'
    with tf.io.TFRecordWriter(str(draft)) as writer:
      for record in dict.fromkeys(kept):  # once each, should a kill have left two copies
        writer.write(record)
    draft.replace(files[0])
    for file in files[1:]:
      file.unlink()
  return {(event.step, value.tag) for event in events for value in event.summary.value
          if event.step <= step}


def _whole_records(file):
  """The records of an event file up to the one, if any, that a kill has torn."""
  try:
    yield from tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
  except tf.errors.DataLossError:
    return
