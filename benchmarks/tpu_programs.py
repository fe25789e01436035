"""Every program that a training run compiles, compiled for TPUs on a machine without one.

    python -m venv /tmp/tpu && /tmp/tpu/bin/pip install jax==0.10.2 libtpu==0.0.52
    python -m benchmarks.tpu_programs --jax_python=/tmp/tpu/bin/python
    python -m benchmarks.tpu_programs --jax_python=/tmp/tpu/bin/python --chips=4

`export_programs` writes the programs in the form that an accelerator gets, `compile_for_tpu`
compiles them. Rows that are in --out are not made again; --rows prints their table.
"""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

from absl import flags
from tqdm import tqdm

from asm_tf.errors import UserError
from benchmarks import other_python, speed
from launch import command_line

MODELS = ('lstm', 'rnn', 'transformer', 'ssm', 'markov', 'history_lstm', 'history_transformer')
DTYPES, TOPOLOGIES = ('float32', 'bfloat16'), ('v5e', 'v6e')
_EXPORTED = ('model', 'horizon', 'dtype', 'times', 'chips')
_CELL = (*_EXPORTED, 'topology')
_SHOWN = {'model_learner.loss_and_gradient': 'model gradient',
          'policy_learner.imagine': 'policy gradient',
          'gradient_comparison.compare_gradients': 'comparison'}


def define_flags():
  flags.DEFINE_string('jax_python', sys.executable, 'Python that has jax and libtpu.')
  flags.DEFINE_list('models', list(MODELS), 'Which world models.')
  flags.DEFINE_list('horizons', [str(horizon) for horizon in speed.HORIZONS], 'Which horizons H.')
  flags.DEFINE_list('dtypes', list(DTYPES), 'Of the products.')
  flags.DEFINE_list('times', ['1', '32'], "How many times Table 1's batches.")
  flags.DEFINE_list('topologies', list(TOPOLOGIES), 'Which TPUs.')
  flags.DEFINE_enum('chips', '1', ('1', '2', '4'), 'Chips that share a batch.')
  flags.DEFINE_integer('limit', 600, 'Seconds that the compilation of a program may take.', 1)
  flags.DEFINE_string('out', 'docs/results/tpu_programs.jsonl', 'File of the rows.')
  flags.DEFINE_bool('rows', False, 'Print the table of the rows in --out and stop.')


def main():
  given, out = flags.FLAGS, pathlib.Path(flags.FLAGS.out)
  speed.require_cells(given.models, given.horizons, MODELS)
  speed.require_some_of('dtypes', given.dtypes, DTYPES)
  speed.require_some_of('topologies', given.topologies, TOPOLOGIES)
  speed.require_whole_numbers('times', given.times, 1)
  rows = speed.read_rows(out)
  if not given.rows:
    command_line.require_writable('out', out)
    versions = {'versions': other_python.versions(given.jax_python, 'jax', 'libtpu'),
                **speed.origin()}
    exports = list(itertools.product(
        given.models, map(int, given.horizons), given.dtypes, map(int, given.times),
        [int(given.chips)]))
    for export in tqdm(exports, unit='agent'):
      there = {tuple(row[name] for name in _CELL) for row in rows}
      topologies = [name for name in given.topologies if (*export, name) not in there]
      for made in _compile(export, topologies, given.jax_python, given.limit):
        rows += [row | versions for row in made]
        speed.write_rows(out, rows)
  print(table(rows))


def _compile(export, topologies, jax_python, limit):
  """Yields the rows of an agent's programs, topology by topology."""
  if not topologies:
    return
  with tempfile.TemporaryDirectory() as folder:
    arguments = [f'--{name}={value}' for name, value in zip(_EXPORTED, export, strict=True)]
    done = subprocess.run([sys.executable, '-m', 'benchmarks.export_programs', *arguments,
                           f'--out={folder}'], capture_output=True, text=True)
    programs = sorted(pathlib.Path(folder).glob('*.hlo'))
    for topology in topologies:
      cell = dict(zip(_CELL, (*export, topology), strict=True))
      if done.returncode:
        yield [cell | {'program': 'export', 'error': other_python.last_line(done.stderr)}]
        continue
      with Compiler(jax_python, topology, cell['chips'], limit) as compiler:
        yield [cell | {'program': path.stem} | compiler.measure(path) for path in programs]


class Compiler:
  """A process that compiles what it is given, and is started again where a program ended it."""

  def __init__(self, jax_python, topology, chips, limit):
    self._command = [jax_python, '-m', 'benchmarks.compile_for_tpu', topology, str(chips),
                     str(limit)]
    self._process = None

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._process is not None:
      self._process.communicate()

  def measure(self, path):
    """What `compile_for_tpu` says of a program."""
    if self._process is None:
      self._start()
    print(path, file=self._process.stdin, flush=True)
    answer = self._process.stdout.readline()
    if answer:
      return json.loads(answer)
    code, self._process = self._process.wait(), None
    return {'error': f'the compiler ended with code {code} (-14: it took longer than allowed)'}

  def _start(self):
    with tempfile.TemporaryFile('w+') as said:
      self._process = subprocess.Popen(
          self._command, stdin=subprocess.PIPE, text=True, stdout=subprocess.PIPE, stderr=said)
      if self._process.stdout.readline().strip() != 'ready':
        code, self._process = self._process.wait(), None
        said.seek(0)
        why = other_python.last_line(said.read())
        raise UserError(f'{" ".join(self._command)} does not start (code {code}: {why}): mend the '
                        'environment of --jax_python.')


def table(rows):
  """Markdown, a line for an agent on a topology: the gradients, and the other programs together.

  A cell is seconds to compile / MiB of temporaries / estimated milliseconds / share of the peak.
  """
  head = ('model', 'H', 'products', 'batch', 'TPU', *_SHOWN.values(), 'others: slowest (s)',
          'failed')
  lines = ['| ' + ' | '.join(head) + ' |', '|---' * len(head) + '|']
  rows = sorted(rows, key=lambda row: (
      row['chips'], TOPOLOGIES.index(row['topology']), row['dtype'] != DTYPES[0], row['times'],
      row['horizon'], MODELS.index(row['model'])))
  for _, of_cell in itertools.groupby(rows, lambda row: tuple(row[name] for name in _CELL)):
    of_cell = {row['program']: row for row in of_cell}
    first = next(iter(of_cell.values()))
    others = [row['compile_seconds'] for name, row in of_cell.items()
              if name not in _SHOWN and 'error' not in row]
    chips = '' if first['chips'] == 1 else f' x {first["chips"]}'
    cells = (first['model'], first['horizon'], first['dtype'], f'x {first["times"]}',
             first['topology'] + chips, *(_shown(of_cell.get(name)) for name in _SHOWN),
             f'{max(others):.1f}' if others else '',
             sum('error' in row for row in of_cell.values()))
    lines.append('| ' + ' | '.join(map(str, cells)) + ' |')
  return '\n'.join(lines)


def _shown(row):
  if row is None:
    return ''
  if 'error' in row:
    return 'failed'
  estimate = (f'{1e3 * row["estimated_seconds"]:.3g} / {row["share_of_peak"]:.2%}'
              if 'share_of_peak' in row else '-')
  return f'{row["compile_seconds"]:.0f} / {row["temp_bytes"] / 2**20:.3g} / {estimate}'


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
