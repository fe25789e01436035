"""What can happen to a run, done to it: each fault returns what came of it.

A fault takes (arguments, folder, whole, seconds, generator) of `launch.main`: the arguments of
the run, the folder to train in, the folder of the same run uninterrupted, the seconds that one
took, and a numpy generator; it returns the counts of a row of `benchmarks/soak.py`.
"""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

import asm_tf  # noqa: F401, has TensorFlow start without a word
from benchmarks.faulty_systems import BROKEN

REPOSITORY = pathlib.Path(__file__).parents[1]
_LONGEST = 1200  # seconds that a run may take to its end
# (in which folder, which file of those that match); of an interrupted run and of a finished one.
FILES = (
    ('half', 'config.gin', 0), ('half', 'run.json', 0), ('half', 'metrics.jsonl', 0),
    ('half', 'operative_config.gin', 0), ('half', 'checkpoints/checkpoint', 0),
    ('half', 'checkpoints/ckpt-*.index', -1), ('half', 'checkpoints/ckpt-*.index', 0),
    ('half', 'checkpoints/ckpt-*.data*', -1), ('half', 'checkpoints/ckpt-*.data*', 0),
    ('half', 'train/events*', 0), ('half', 'eval/events*', 0),
    ('whole', 'metrics.jsonl', 0), ('whole', 'summary.json', 0), ('whole', 'eval/events*', 0),
    ('whole', 'policy/saved_model.pb', 0), ('whole', 'policy/variables/*.index', 0))
DAMAGES = ('cut', 'emptied', 'garbage', 'deleted')


def start(arguments, folder, environment=(), limit=None, log=None):
  """A process of `launch.main` that goes on with the run in `folder`; its stderr is in a log."""
  limit_files = limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
  with open(log or f'{folder}.log', 'w') as log:
    return subprocess.Popen(
        [sys.executable, '-m', 'launch.main', *arguments, f'--root_dir={folder}', '--resume'],
        cwd=REPOSITORY, env=os.environ | dict(environment), stdout=log, stderr=log,
        preexec_fn=limit_files)


def ending(process, log, timeout=_LONGEST):
  """'done', 'stopped' (by one clear line), or in words what else came of a process."""
  try:
    code = process.wait(timeout)
  except subprocess.TimeoutExpired:
    process.kill()
    process.wait()
    return f'no end within {timeout:.0f} s'
  text = pathlib.Path(log).read_text(errors='replace')
  lines = [line for line in text.splitlines() if line.startswith('error: ')]
  if code == 0:
    return 'done'
  if code > 0 and len(lines) == 1 and 'Traceback' not in text:
    return 'stopped'
  return f'exit code {code}: {text.strip().splitlines()[-1][-300:] if text.strip() else ""}'


def run(arguments, folder, environment=(), limit=None):
  """The ending of a process of `launch.main` that nobody stops."""
  return ending(start(arguments, folder, environment, limit), f'{folder}.log')


def whole_run(arguments, folder):
  """Seconds that the run takes when nothing happens to it."""
  began = time.monotonic()
  end = run(arguments, folder)
  if end != 'done':
    raise RuntimeError(f'{folder}: {end}')
  return time.monotonic() - began


class Kept:
  """What was saved in run folders, and how often a resume did not keep it."""

  def __init__(self, *folders):
    self._rows = dict.fromkeys(folders, b'')
    self._lost = 0
    self.look()

  def look(self):
    """How often something was lost so far; to be called before and after every resume.

    Kept are the rows that the newest whole checkpoint, which all of the folders have, follows
    on. A resume that began before it makes the last of them again, and their clocks differ.
    """
    self._lost += sum(not _content(folder).startswith(rows) for folder, rows in self._rows.items())
    followed = [_rows_followed(folder) for folder in self._rows]
    newest = max(set.intersection(*map(set, followed)), default=None)
    for folder, numbers in zip(self._rows, followed, strict=True):
      lines = _content(folder).splitlines(keepends=True)
      self._rows[folder] = b''.join(lines[:numbers.get(newest, 0)])
    return self._lost


def kill(arguments, folder, whole, seconds, generator, kills=5):
  """SIGKILL at moments drawn uniformly from the life of a process; then on to the end."""
  kept = Kept(folder)
  for _ in range(kills):
    killed = False
    while not killed:  # a process that ends before its moment is started again
      process, began = start(arguments, folder), time.monotonic()
      try:
        process.wait(generator.uniform(0, seconds))
        end = ending(process, f'{folder}.log')
        if end != 'done':
          return outcome(kills, end)
        seconds = time.monotonic() - began
      except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        killed = True
      kept.look()
  end = run(arguments, folder)
  return outcome(kills, end, (folder, whole), lost=kept.look())


def quota(arguments, folder, whole, seconds, generator):
  """No space left at a size drawn from that of the whole folder; then space again.

  Whoever may mount has the run in a small file system of its own; else no file may grow beyond
  a size.
  """
  del seconds
  files = [path.stat().st_size for path in whole.rglob('*') if path.is_file()]
  size = int(generator.uniform(4096, sum(files)))
  folder.mkdir()
  mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'soak', folder],
                           stderr=subprocess.DEVNULL, check=False).returncode == 0
  if not mounted:
    folder.rmdir()
    limit = int(np.exp(generator.uniform(np.log(1000), np.log(max(files)))))
    end = run(arguments, folder, limit=limit)
  else:
    try:
      end = run(arguments, folder)
      kept = shutil.copytree(folder, f'{folder}.kept')
    finally:
      subprocess.run(['umount', folder], check=True)
    folder = pathlib.Path(kept)
  if end not in ('done', 'stopped'):
    return outcome(1, end)
  stopped, kept = int(end == 'stopped'), Kept(folder)
  end = run(arguments, folder)
  return outcome(1, end, (folder, whole), lost=kept.look()) | {'stopped': stopped}


def truncate(arguments, folder, base, whole, file, damage, generator):
  """A file of the folder `base` is damaged; then the run goes on."""
  shutil.copytree(base, folder)
  pattern, which = file
  path = sorted(folder.glob(pattern))[which]
  if damage == 'deleted':
    path.unlink()
  elif damage == 'garbage':
    path.write_bytes(generator.bytes(path.stat().st_size))
  else:
    size = path.stat().st_size
    os.truncate(path, int(generator.integers(1, size)) if damage == 'cut' and size > 1 else 0)
  before, kept = saved(folder), Kept(folder)
  end = run(arguments, folder)
  if end == 'stopped':
    after = saved(folder)
    return outcome(1, end, lost=sum(after.get(key) != before[key] for key in before))
  return outcome(1, end, (folder, whole), lost=kept.look())


def half_run(arguments, folder):
  """Leaves a run that was killed when it had two checkpoints."""
  draft = folder.with_name(folder.name + '.part')
  shutil.rmtree(draft, ignore_errors=True)
  process = start(arguments, draft)
  while len(list(draft.glob('checkpoints/ckpt-*.index'))) < 2:
    if process.poll() is not None:
      raise RuntimeError(f'{draft} ended with code {process.returncode} before it had two '
                         'checkpoints.')
    time.sleep(0.05)
  process.kill()
  process.wait()
  draft.rename(folder)


def nan_now_and_then(arguments, folder, whole, seconds, generator):
  """A world that sends NaN now and then; killed once, the run ends as if it had not been."""
  result = kill(arguments, folder, whole, seconds, generator, kills=1)
  last = json.loads((folder / 'metrics.jsonl').read_text().splitlines()[-1])
  if not last['dropped_episodes'] or last['skipped_updates']:
    return outcome(1, f'dropped {last["dropped_episodes"]}, skipped {last["skipped_updates"]}')
  return result


def nan_always(arguments, folder, whole, seconds, generator):
  """A world that sends nothing but NaN from some moment on, and is mended."""
  del whole
  process = start(arguments, folder)
  try:
    process.wait(generator.uniform(0, 0.5 * seconds))
  except subprocess.TimeoutExpired:
    process.send_signal(signal.SIGTERM)
    process.wait()
  kept = Kept(folder)
  end = run(arguments, folder, {BROKEN: '1'})
  kept.look()
  mended = run(arguments, folder)
  return outcome(1, end if mended == 'done' else f'after mending: {mended}', lost=kept.look())


def peers(arguments, folder, whole, seconds, generator):
  """One of two workers is killed; the other ends by itself, and both are started again."""
  del whole
  uninterrupted = folder.with_name(f'{folder.name}-whole')
  ends = [ending(*worker) for worker in start_workers(arguments, uninterrupted, generator)]
  if ends != ['done', 'done']:
    return outcome(1, f'uninterrupted: {ends}')
  workers = start_workers(arguments, folder, generator)
  while not (folder / 'metrics.jsonl').exists() and workers[0][0].poll() is None:
    time.sleep(0.05)  # until they have met: before, one waits for the other
  time.sleep(generator.uniform(0, 0.2 * seconds))
  victim = int(generator.integers(2))
  workers[victim][0].kill()
  end = ending(*workers[1 - victim], timeout=120)
  if end not in ('stopped', 'done'):
    return outcome(1, f'the worker that was left: {end}')
  workers[victim][0].wait()
  pairs = [(folder, uninterrupted), tuple(
      path.with_name(f'{path.name}-worker-1') for path in (folder, uninterrupted))]
  kept = Kept(*(path for path, _ in pairs))
  ends = {ending(*worker) for worker in start_workers(arguments, folder, generator)}
  final = 'done' if ends == {'done'} else f'after the restart: {ends}'
  return outcome(1, final, *pairs, lost=kept.look()) | {'stopped': int(end == 'stopped')}


def start_workers(arguments, folder, generator):
  """Two (process, log); worker 0 trains in the folder itself, worker 1 in its own beside it."""
  ports = generator.choice(np.arange(20000, 30000), 2, replace=False)
  cluster = {'worker': [f'127.0.0.1:{port}' for port in ports]}
  workers = []
  for index in (0, 1):
    log, task = f'{folder}-{index}.log', {'type': 'worker', 'index': index}
    configuration = {'TF_CONFIG': json.dumps({'cluster': cluster, 'task': task})}
    workers.append((start([*arguments, '--strategy=multi_worker'], folder, configuration, log=log),
                    log))
  return workers


def outcome(times, end, *pairs, lost=0):
  """The counts of a row, from the ending of the last process and pairs (folder, whole)."""
  identical = end == 'done' and bool(pairs)
  detail = end
  if identical:
    detail = '; '.join(filter(None, (difference(*pair) for pair in pairs)))
    identical = not detail
  stopped = end == 'stopped'
  return {'times': times, 'identical': times * identical, 'stopped': times * stopped,
          'other': times * (not identical and not stopped), 'lost': lost,
          'detail': '' if identical or stopped else detail}


def difference(folder, whole):
  """In words how two runs differ in what does not depend on the clock; '' if they do not.

  Of SavedModels the variables are compared: names in their graphs count what a process traced.
  """
  for name, content in (('rows', _rows), ('checkpoint', _tensors), ('policy', _policy),
                        ('world model', _world_model), ('TensorBoard', _points)):
    found, expected = content(folder), content(whole)
    for key in sorted(found.keys() | expected.keys(), key=str):
      if key not in found or key not in expected or not np.array_equal(
          found[key], expected[key], equal_nan=found[key].dtype.kind == 'f'):
        return f'{name}: {key}'
  return ''


def _content(folder):
  path = folder / 'metrics.jsonl'
  return path.read_bytes() if path.exists() else b''


def _rows_followed(folder):
  """{steps: number of the rows that it follows on} of whole checkpoints whose rows are there."""
  followed, there = {}, 0
  with contextlib.suppress(ValueError):  # a row that is torn, and what comes after it
    for line in _content(folder).splitlines(keepends=True):
      json.loads(line)
      there += line.endswith(b'\n')
  for index in folder.glob('checkpoints/ckpt-*.index'):
    with contextlib.suppress(Exception):  # what a torn one raises depends on the byte
      rows = int(_read(str(index.with_suffix('')))['rows/.ATTRIBUTES/VARIABLE_VALUE'])
      if rows <= there:
        steps = int(index.stem.split('-')[1])
        followed[steps] = max(rows, followed.get(steps, 0))
  return followed


def _rows(folder):
  rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  return {(index, key): np.array(value, dtype=float) for index, row in enumerate(rows)
          for key, value in row.items() if not key.endswith(('_seconds', '_per_second'))}


def _tensors(folder):
  from tensorflow import train  # the command line is read before TensorFlow starts
  return _read(train.latest_checkpoint(str(folder / 'checkpoints')))


def _policy(folder):
  return _read(str(folder / 'policy/variables/variables'))


def _world_model(folder):
  path = folder / 'world_model'
  variables = _read(str(path / 'variables/variables')).values() if path.exists() else ()
  # They have numbers for names, which differ from process to process.
  return dict(enumerate(sorted(variables, key=lambda value: (value.shape, value.tobytes()))))


def _read(checkpoint):
  from tensorflow import train
  reader = train.load_checkpoint(checkpoint)
  values = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
  # What Python objects keep comes as bytes.
  return {key: np.array(value, object) if isinstance(value, bytes) else value
          for key, value in values.items()
          if 'wall_seconds' not in key and key != '_CHECKPOINTABLE_OBJECT_GRAPH'}


def _points(folder):
  from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
  from tensorboard.util import tensor_util
  points = {}
  for name in ('train', 'eval'):
    events = EventAccumulator(str(folder / name), size_guidance={'tensors': 0})
    events.Reload()
    for tag in events.Tags()['tensors']:
      # Clocks, and what every start writes.
      if tag.split('/')[0] not in ('RunTime', 'gin', '_hparams_', 'trajectory'):
        for number, event in enumerate(sorted(events.Tensors(tag), key=lambda event: event.step)):
          value = tensor_util.make_ndarray(event.tensor_proto)
          points[name, tag, number] = np.append(value, event.step).astype(float)
  return points


def saved(folder):
  """{path: content} of what may not be lost."""
  return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*')
          if path.is_file() and (path.name == 'metrics.jsonl' or path.name.startswith('ckpt-'))}
