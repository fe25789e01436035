"""What the benchmarks share: rows, cells, and the environment of other programs."""

import os
import pathlib
import subprocess
import sys

import pytest

from asm_tf.errors import UserError
from benchmarks import speed


def test_rows_are_read_again(tmp_path):
  rows = [{'model': 'lstm', 'horizon': 20}, {'model': 'rnn', 'horizon': 100}]
  assert speed.read_rows(tmp_path / 'rows.jsonl') == []
  speed.write_rows(tmp_path / 'rows.jsonl', rows)
  assert speed.read_rows(tmp_path / 'rows.jsonl') == rows


def test_what_holds_no_rows_is_said_in_one_line(tmp_path):
  (tmp_path / 'rows.jsonl').write_text('{"model": "ls')
  for path in (tmp_path, tmp_path / 'rows.jsonl'):
    with pytest.raises(UserError, match='cannot be read as rows .*give another --out'):
      speed.read_rows(path)


def test_a_cell_is_a_model_and_a_horizon():
  assert speed.model_and_horizon('cell', 'lstm,20', speed.MODELS) == ('lstm', 20)
  for text in ('lstm', 'lstm,', 'lstm,20x', 'gru,20'):
    with pytest.raises(UserError, match='--cell'):
      speed.model_and_horizon('cell', text, speed.MODELS)


def test_another_program_compiles_without_our_flags():
  there = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
  said = subprocess.run(
      [sys.executable, '-c', 'from benchmarks import ENVIRONMENT, speed; import os; '
       'print("XLA_FLAGS" in ENVIRONMENT, "XLA_FLAGS" in os.environ)'],
      env=there, cwd=pathlib.Path(__file__).parents[2], text=True, capture_output=True, check=True)
  assert said.stdout.split() == ['False', 'True']
