"""The clock of the race against the authors' training."""

import json
import subprocess
import sys
import time

import pytest

from asm_tf.errors import UserError
from benchmarks import speed, time_to_score

# Prints an evaluation at once, then one a minute.
_SLOW = ('import json, time\nprint("noise")\n'
         'for step in (160, 320):\n'
         '  print(json.dumps({"env_steps": step, "return": 1.0}), flush=True)\n'
         '  time.sleep(60)\n')


def row(who, seed, seconds, limit=100):
  return {'system': 'HIVTreatment', 'horizon': 20, 'seed': seed, 'who': who, 'limit': limit,
          'seconds': seconds}


def test_evaluations_come_as_they_are_made_and_the_process_ends_with_them(tmp_path, monkeypatch):
  processes, start = [], subprocess.Popen
  monkeypatch.setattr(time_to_score.subprocess, 'Popen', lambda *arguments, **how: (
      processes.append(start(*arguments, **how)), processes[-1])[1])
  evaluations = time_to_score._evaluations(
      [sys.executable, '-c', _SLOW], tmp_path, 'theirs', 50, [])
  assert next(evaluations) == {'env_steps': 160, 'return': 1.0}
  began = time.monotonic()
  evaluations.close()
  assert processes[0].poll() is not None
  assert time.monotonic() - began < 20  # it was stopped, not waited for


def test_a_run_ends_at_the_limit(tmp_path):
  ended_by = []
  found = list(time_to_score._evaluations(
      [sys.executable, '-c', _SLOW], tmp_path, 'theirs', 2, ended_by))
  assert [evaluation['env_steps'] for evaluation in found] == [160]
  assert ended_by == ['limit']


def test_a_run_that_breaks_is_no_run_that_did_not_get_there(tmp_path):
  breaks = [sys.executable, '-c', 'import sys; print("{}"); sys.exit("no such dynamics")']
  with pytest.raises(UserError, match='ended with code 1 .*no such dynamics'):
    list(time_to_score._evaluations(breaks, tmp_path, 'theirs', 20, []))


def test_ours_is_read_from_its_rows_without_an_incomplete_one(tmp_path):
  folder, ended_by = tmp_path / 'run', []
  folder.mkdir()
  whole = json.dumps({'env_steps': 500, 'return': 2.0}) + '\n'
  (folder / 'metrics.jsonl').write_text(whole + whole[:9])
  found = list(time_to_score._evaluations(
      [sys.executable, '-c', ''], tmp_path, 'ours', 20, ended_by))
  assert found == [{'env_steps': 500, 'return': 2.0}]
  assert ended_by == ['steps']


def test_a_score_that_is_not_reached_counts_as_the_limit_and_is_marked():
  rows = [row('ours', 0, {'0.9': 10.0, '0.95': 20.0}), row('theirs', 0, {'0.9': 40.0}),
          row('ours', 1, {'0.9': 20.0, '0.95': 30.0}), row('theirs', 1, {'0.9': 20.0}),
          row('ours', 2, {})]  # without its counterpart
  _, _, first, second = time_to_score.table(rows).splitlines()
  assert first == '| HIVTreatment | 20 | 0.9 | 15 (10 to 20) | 30 (20 to 40) | 2.0 | 2 |'
  assert second == '| HIVTreatment | 20 | 0.95 | 25 (20 to 30) | > 100 (100 to 100) | > 4.0 | 2 |'


def test_bad_input_is_one_line(tmp_path):
  with pytest.raises(UserError, match='give a checkout'):
    time_to_score._require_their_code(str(tmp_path))
  with pytest.raises(UserError, match='give whole numbers'):
    speed.require_whole_numbers('horizons', ['20x'], 2)
  with pytest.raises(UserError, match='launch.solve --system=HIVTreatment --horizon=7'):
    time_to_score.stored_reference('HIVTreatment', 7)
