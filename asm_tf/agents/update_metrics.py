"""Scalars that describe the last updates of a learner."""

import tensorflow as tf


class UpdateMetrics(tf.Module):
  """Named scalars of the last update, and the number of updates that were skipped.

  A scalar is NaN before the first update, so that no curve starts from a zero that nobody
  measured.
  """

  def __init__(self, *names: str):
    super().__init__(name='update_metrics')
    self._values = {name: tf.Variable(float('nan'), trainable=False, name=name) for name in names}
    self._skipped = tf.Variable(0.0, trainable=False, name='skipped_updates')

  def record(self, applied: tf.Tensor | bool = True, **values: tf.Tensor) -> None:
    """Records one update and whether it was applied or, not being finite, skipped."""
    self._skipped.assign_add(tf.where(applied, 0.0, 1.0))
    for name, value in values.items():
      self._values[name].assign(tf.cast(value, tf.float32))

  def values(self) -> dict[str, tf.Variable]:
    """{name: scalar} of the last update."""
    return dict(self._values)

  @property
  def skipped_updates(self) -> tf.Variable:
    """The number of updates that were skipped because they were not finite."""
    return self._skipped


def merge(*metrics: UpdateMetrics) -> dict[str, tf.Tensor]:
  """{name: scalar} of several learners, with the sum of their skipped updates."""
  merged = {name: value for part in metrics for name, value in part.values().items()}
  skipped = tf.add_n([tf.convert_to_tensor(part.skipped_updates) for part in metrics])
  return merged | {'skipped_updates': skipped}
