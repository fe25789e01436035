"""The training runs in a folder, and why some of them are left out."""

import pathlib
import re

from asm_tf.errors import UserError
from asm_tf.experiments.cells import is_locked
from asm_tf.experiments.statistics import label
from asm_tf.experiments.training_runs import finished_rows, read_run


def read_runs(folder: str | pathlib.Path) -> tuple[list[dict], dict[str, str]]:
  """Reads every run in a folder and those below it.

  Runs that have no evaluation yet have no row. The folder of a sweep also has the rows in its
  results.jsonl whose runs are elsewhere.

  Returns:
    The rows in the order of the runs' names, and {name: why} of the runs that cannot be read, that
    repeat another, that are still at work beside finished ones, or that ended too early; of the
    last, what was evaluated has a row, with 'ended_early' true.

  Raises:
    UserError: if no run can be read.
  """
  folder = pathlib.Path(folder)
  found = {f'runs/{name}': row for name, row in finished_rows(folder).items()}
  failed = {name: line for name, line in last_words(folder).items() if name not in found}
  at_work = set()
  for path in sorted(folder.rglob('run.json')):
    name = path.parent.relative_to(folder).as_posix()
    if name in found or _is_a_further_workers(path.parent):
      continue
    try:
      found[name] = read_run(path.parent) | ({'ended_early': True} if name in failed else {})
    except UserError as error:
      failed[name] = error.message
    if is_locked(path.parent / 'lock'):
      at_work.add(name)
  if not found:
    raise UserError(next(iter(failed.values()), f'{folder} holds no run: give a folder of runs of '
                         'launch.main, or one above it.'))
  evaluated = {name: row for name, row in sorted(found.items()) if row['env_steps']}
  if not evaluated:
    raise UserError(f'no run in {folder} has an evaluation yet: wait for the first.')
  at_work &= evaluated.keys()
  if len(at_work) < len(evaluated):
    failed |= dict.fromkeys(at_work, 'it is still at work')
    evaluated = {name: row for name, row in evaluated.items() if name not in at_work}
  repeated = _repeated(evaluated)
  return [row for name, row in evaluated.items() if name not in repeated], repeated | failed


def _is_a_further_workers(run):
  """Whether a folder is that of another worker of a run on several hosts, whose rows are alike."""
  first = re.sub(r'-worker-\d+$', '', run.name)
  return first != run.name and (run.parent / first / 'run.json').exists()


def last_words(folder: str | pathlib.Path) -> dict[str, str]:
  """Returns {path of a run below `folder`: last line of its log} of runs that ended too early.

  A sweep writes the log, in its folder of runs. While it is at work, a run that has not begun is
  not among them, and one that another process is training never is.
  """
  folder, found = pathlib.Path(folder), {}
  for log in sorted(folder.rglob('*.log')):
    run, sweep = log.with_suffix(''), log.absolute().parent.parent / 'sweep.lock'
    has_ended = not is_locked(run / 'lock') and (run.exists() or not is_locked(sweep))
    is_ours = log.absolute().parent.name == 'runs' and sweep.exists()
    if not is_ours or (run / 'summary.json').exists() or not has_ended:
      continue
    try:
      text = log.read_text(encoding='utf-8', errors='replace')
    except OSError as error:
      text = f'its log cannot be read ({error.strerror})'
    found[run.relative_to(folder).as_posix()] = re.split(r'[\r\n]+', text.strip())[-1]
  return found


def _repeated(rows):
  """{name: why} of all runs but the longest (then the last) of a model, a system and a seed."""
  groups = {}
  for name, row in rows.items():
    key = label(row), row['system'], row['horizon'], row['seed']
    groups.setdefault(key, []).append(name)
  repeated = {}
  for names in groups.values():
    *others, longest = sorted(names, key=lambda name: rows[name]['env_steps'][-1])
    for name in others:
      repeated[name] = (f'the model, the system and the seed are those of {longest}, which counts: '
                        'give gin files other names where their settings differ')
  return repeated


def table_of_failures(failed: dict[str, str]) -> str:
  """A Markdown table of {name of a run: why}."""
  lines = ['Runs that are left out, or ended too early:', '', '| run | why |', '|---|---|']
  for name, why in sorted(failed.items()):
    why = why.replace('|', r'\|')
    lines.append(f'| {name} | {why} |')
  return '\n'.join(lines)
