"""A table takes memory as it is filled, and keeps what was written."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.replay.growing_table import GrowingTable, IntegerStatesTable, bytes_of

SPEC = {'number': tf.TensorSpec([], tf.int64), 'state': tf.TensorSpec([2, 3])}


def values(rows):
  return {'number': tf.constant(rows, tf.int64),
          'state': tf.reshape(tf.range(6.0), [2, 3]) + 10.0 * tf.cast(
              tf.constant(rows), tf.float32)[:, None, None]}


@pytest.mark.parametrize('in_graph', [False, True])
def test_it_grows_with_what_is_written_up_to_its_capacity(in_graph):
  table, sizes = GrowingTable(SPEC, 1000), []
  write = tf.function(table.write, reduce_retracing=True) if in_graph else table.write
  for begin in range(0, 1000, 8):
    rows = np.arange(begin, begin + 8)
    write(tf.constant(rows), values(rows))
    sizes.append(int(table._size()))
    assert begin + 8 <= sizes[-1] <= max(16, 1.5 * (begin + 8))
  assert sizes[-1] == 1000
  assert len(set(sizes)) < 15  # it does not grow by the row
  rows = np.array([[3, 999], [0, 500]])
  found = table.read(tf.constant(rows))
  np.testing.assert_array_equal(found['number'], rows)
  np.testing.assert_array_equal(found['state'][0, 1], values([999])['state'][0])


def test_rows_are_written_over():
  table = GrowingTable(SPEC, 20)
  table.write(tf.constant([0, 5], tf.int64), values([1, 2]))
  table.write(tf.constant([5], tf.int64), values([7]))
  np.testing.assert_array_equal(table.read(tf.constant([0, 5]))['number'], [1, 7])


def test_a_checkpoint_holds_what_was_written_and_fits_a_table_of_any_size(tmp_path):
  table = GrowingTable(SPEC, 100_000)
  table.write(tf.constant([0, 40], tf.int64), values([1, 2]))
  path = tf.train.Checkpoint(table=table).save(str(tmp_path / 'table'))
  assert sum(part.stat().st_size for part in tmp_path.iterdir()) < 100 * bytes_of(SPEC)
  for rows in ([], [90]):
    other = GrowingTable(SPEC, 100_000)
    if rows:
      other.write(tf.constant(rows, tf.int64), values(rows))
    tf.train.Checkpoint(table=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(other.read(tf.constant([0, 40]))['number'], [1, 2])
    other.write(tf.constant([60], tf.int64), values([3]))
    np.testing.assert_array_equal(other.read(tf.constant([40, 60]))['number'], [2, 3])


@pytest.mark.parametrize(('dtype', 'low', 'high'), [
    (tf.uint8, 0, 255), (tf.int8, -128, 127), (tf.uint16, 0, 65535), (tf.int16, -32768, 32767)])
def test_whole_states_come_back_as_they_were_and_take_their_own_bytes(dtype, low, high, tmp_path):
  numbers = tf.TensorSpec([], tf.int32)
  spec = Trajectory(numbers, tf.TensorSpec([4]), tf.TensorSpec([1]), (), numbers, *[
      tf.TensorSpec([])] * 2)
  table = IntegerStatesTable(spec, 1000, dtype)
  assert table.row_bytes == bytes_of(spec) - 3 * (4 - dtype.size)
  observation = tf.constant([[low, high, 7, 500.25], [1, 2, 3, 1.0]])
  steps = tf.nest.map_structure(lambda part: tf.ones([2, *part.shape], part.dtype), spec)
  table.write(tf.constant([0, 30], tf.int64), steps._replace(observation=observation))
  path = tf.train.Checkpoint(table=table).save(str(tmp_path / 'table'))
  restored = IntegerStatesTable(spec, 1000, dtype)
  tf.train.Checkpoint(table=restored).restore(path).assert_consumed()
  for one in (table, restored):
    found = tf.function(one.read)(tf.constant([[30, 0]]))
    assert found.observation.dtype == tf.float32
    np.testing.assert_array_equal(found.observation[0], observation[::-1])
    np.testing.assert_array_equal(found.reward, [[1, 1]])


def test_the_bytes_of_a_row():
  assert bytes_of(SPEC) == 8 + 6 * 4
