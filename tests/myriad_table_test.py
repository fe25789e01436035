"""The score tables: hand-made rows, and the rows that are stored."""

import pathlib

from benchmarks.myriad_table import TABLES, read_rows, table

REPOSITORY = pathlib.Path(__file__).parents[1]


def row(model, horizon, seed, score, early):
  return {'model': model, 'system': 'Harvest', 'horizon': horizon, 'seed': seed,
          'score': score, 'score_at_5000': early}


def cells_of(text):
  """The first three columns of a table's rows."""
  lines = [[part.strip() for part in line.split('|')[1:-1]] for line in text.splitlines()[2:]]
  return [(model, system, int(horizon)) for model, system, horizon, *_ in lines]


def test_a_row_holds_medians_lowest_and_highest():
  rows = [row('lstm', 20, seed, score, early) for seed, (score, early) in enumerate(
      [(0.5, 0.3), (-0.25, 0.1), (1.0, 0.9), (0.7, 0.2)])]
  *head, line = table([('lstm', 'Harvest', 20)], rows).splitlines()
  assert line == '| lstm | Harvest | 20 | 0.250 | **0.600** | -0.250 - 1.000 | 4 |'
  assert [part.count('|') for part in head] == [line.count('|')] * 2


def test_rows_stand_in_the_order_of_the_cells_and_missing_cells_are_left_out():
  cells = [(model, 'Harvest', horizon) for model in ('rnn', 'lstm') for horizon in (50, 20)]
  rows = [row('lstm', 20, 0, 0.1, 0.0), row('markov', 20, 0, 0.2, 0.0),  # not a cell
          row('lstm', 50, 0, 0.3, 0.0), row('rnn', 20, 0, 0.4, 0.0)]
  text = table(cells, rows)
  assert cells_of(text) == cells[1:]
  assert [line.split('**')[1] for line in text.splitlines()[2:]] == ['0.400', '0.300', '0.100']
  assert cells_of(table(cells, [])) == []


def test_the_stored_rows_fill_every_cell_of_the_systems_table():
  out, cells = TABLES['systems']
  rows = read_rows(REPOSITORY / out)
  assert cells_of(table(cells, rows)) == list(cells)
  keys = [(r['model'], r['system'], r['horizon'], r['seed']) for r in rows]
  assert len(set(keys)) == len(keys)  # no seed counts twice


def test_a_file_that_is_not_there_has_no_rows(tmp_path):
  assert not read_rows(tmp_path / 'rows.jsonl')
