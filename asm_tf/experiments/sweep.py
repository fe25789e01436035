"""Sweeps: training runs as Ray tasks, on this machine or on a cluster.

Each cell is a `launch.main` process with a run folder of its own, so that a sweep that was
killed goes on where its runs were. On a cluster, the checkout, its environment and the
sweep's folder lie on a file system that all of its hosts share.
"""

import os
import pathlib
import socket
import sys

from tqdm import tqdm

from asm_tf import gin_files
from asm_tf.atomic_files import write_text
from asm_tf.errors import FailedRuns, UserError, one_line, require_at_least, require_not_negative
from asm_tf.experiments import training_runs
from asm_tf.experiments.cells import locked
from asm_tf.training.run_folder import json_line

_SMALLEST_SHARE = 1e-4  # of a GPU, that Ray counts
_SECONDS_BETWEEN_LOOKS = 5  # at how far the runs are, which say so at every evaluation


def run_sweep(folder: str | pathlib.Path, cells: list[dict], cpus_per_run: int = 1,
              gpus_per_run: float = 0, retries: int = 1,
              address: str | None = None) -> list[dict]:
  """Trains the missing cells and keeps a line per run in <folder>/results.jsonl.

  Args:
    folder: of the sweep; the runs are in <folder>/runs. A row of results.jsonl is taken for its
      run, so that the rows alone are enough to go on from.
    cells: list of `training_cells`.
    cpus_per_run: threads of a run; Ray starts as many runs at once as there are CPUs for.
    gpus_per_run: a fraction lets runs share a GPU.
    retries: times that a failed run is started again.
    address: of a running Ray cluster, 'auto' for the one that this machine belongs to; by
      default Ray is started on this machine, for this sweep and reachable from it alone.

  Returns:
    The rows of the cells, in their order.

  Raises:
    UserError: for a folder that cannot be written or is in use, an address where no Ray runs,
      and more CPUs or GPUs per run than there are.
    FailedRuns: with the last line of each, after all the others have ended.
  """
  require_at_least(1, cpus_per_run=cpus_per_run)
  require_at_least(0, retries=retries)
  require_not_negative(gpus_per_run=gpus_per_run)
  if 0 < gpus_per_run < _SMALLEST_SHARE or gpus_per_run > 1 and gpus_per_run % 1:
    raise UserError(f'gpus_per_run is {gpus_per_run}: give a share from {_SMALLEST_SHARE} to 1, or '
                    'a whole number.')
  folder = pathlib.Path(folder).absolute()
  runs = folder / 'runs'
  lock = folder / 'sweep.lock'
  try:
    runs.mkdir(parents=True, exist_ok=True)
    lock.touch()
  except OSError as error:
    raise UserError(f'cannot write {error.filename or folder} ({error.strerror}): give another '
                    'folder.') from error
  with locked(lock, wait=False) as mine:
    if not mine:
      raise UserError(f'another sweep is at work in {folder}: wait for it to end, or give another '
                      'folder.')
    return _run_missing(folder, cells, cpus_per_run, gpus_per_run, retries, address)


def _run_missing(folder, cells, cpus, gpus, retries, address):
  runs, rows, failures = folder / 'runs', _write_results(folder), []
  missing = [cell for cell in cells if not training_runs.is_covered(rows, cell)]
  asked = sum(cell['num_env_steps'] for cell in cells)
  finished = len(cells) - len(missing)
  left = {training_runs.folder_of(runs, cell): training_runs.steps_left(runs, cell)
          for cell in missing}
  with tqdm(total=asked, initial=asked - sum(left.values()), unit='step', unit_scale=True,
            dynamic_ncols=True) as bar:

    def look(at=()):
      for cell in at:
        left[training_runs.folder_of(runs, cell)] = training_runs.steps_left(runs, cell)
      bar.n = max(bar.n, asked - sum(left.values()))  # a killed run repeats some of its steps
      bar.set_postfix_str(f'{finished} of {len(cells)} runs')

    if missing:
      for cell, failure in _train(runs, missing, cpus, gpus, retries, address,
                                  look=look):
        if failure:
          failures.append(f'{training_runs.folder_of(runs, cell).name}: {failure}')
        finished += not failure
        rows = _write_results(folder)
        look()
  if failures:
    raise FailedRuns('\n'.join(failures))
  return [training_runs.row_of_cell(rows, cell) for cell in cells]


def _write_results(folder):
  """Writes a line for every finished run, those of earlier grids included, and returns them."""
  rows = training_runs.finished_rows(folder)
  results = folder / 'results.jsonl'
  try:
    write_text(results, ''.join(map(json_line, rows.values())))
  except OSError as error:
    raise UserError(f'cannot write {results} ({error.strerror}): mend that, then go on with the '
                    'same command.') from error
  return rows


def _train(runs, cells, cpus, gpus, retries, address, look):
  """Yields each cell as it ends, with None or the last line of what went wrong.

  look(cells) is called with those that have not ended, every few seconds.
  """
  ray = _start_ray(address)
  try:
    hosts = [node['Resources'] for node in ray.nodes() if node['Alive']]
    if not any(cpus <= host.get('CPU', 0) and gpus <= host.get('GPU', 0) for host in hosts):
      there = ', '.join(f'{host.get("CPU", 0):g} and {host.get("GPU", 0):g}' for host in hosts)
      raise UserError(f'a run asks for {cpus:g} CPUs and {gpus:g} GPUs on one host, and Ray has '
                      f'{there}: lower run_sweep.cpus_per_run or gpus_per_run.')  # it would wait
    # Ray retries what a lost worker or host had begun; a run that failed is retried here, without
    # Ray's lines about it on the terminal.
    task = ray.remote(_task()).options(num_cpus=cpus, num_gpus=gpus, max_retries=retries)
    environment = {'TF_NUM_INTRAOP_THREADS': str(cpus), 'TF_FORCE_GPU_ALLOW_GROWTH': 'true'}

    def start(cell):
      return task.remote([sys.executable, *training_runs.arguments(runs, cell)],
                         str(training_runs.folder_of(runs, cell)), str(gin_files.BASE), environment)

    waiting = {start(cell): (cell, retries) for cell in cells}
    while waiting:
      ended, _ = ray.wait(list(waiting), timeout=_SECONDS_BETWEEN_LOOKS)
      look([cell for cell, _ in waiting.values()])
      for run in ended:
        (cell, retries_left), failure = waiting.pop(run), None
        try:
          ray.get(run)
        except ray.exceptions.RayTaskError as error:
          failure = str(error.cause)
          if retries_left and not failure.startswith('exit code 2,'):  # bad input stays bad
            waiting[start(cell)] = cell, retries_left - 1
            continue
        except ray.exceptions.RayError as error:
          failure = one_line(error)
        yield cell, failure
  finally:
    ray.shutdown()


def _start_ray(address):
  """The module ray, connected to the cluster at `address` or to one of this machine alone."""
  os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
  if not address:  # Ray would listen on every interface, even when it is given 127.0.0.1
    os.environ['RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'] = '0'
  import ray  # takes a second, and reads the variables above
  try:
    if address and ':' in address:  # Ray itself would try for a quarter of an hour
      host, port = address.removeprefix('ray://').rsplit(':', 1)
      socket.create_connection((host, int(port)), timeout=5).close()
    ray.init(address=address or 'local', include_dashboard=None if address else False,
             logging_level='ERROR', log_to_driver=False)
  except (OSError, RuntimeError, ValueError) as error:
    if not address:
      raise UserError(f'Ray cannot start on this machine ({one_line(error, 200)}): mend that, or '
                      'give the address of a cluster.') from error
    raise UserError(f'no Ray cluster at {address!r} ({one_line(error, 200)}): start one with `ray '
                    'start --head` of this environment, or leave the address out.') from error
  return ray


def _task():
  """The function that Ray's workers run.

  It is made inside a function so that Ray sends it whole: workers need not import asm_tf,
  and with it TensorFlow.
  """
  def train(command, folder, directory, environment):
    import ctypes
    import fcntl
    import os
    import signal
    import subprocess
    # A killed sweep takes its runs along, which save; the next one waits until they have.
    if os.path.isfile(folder + '/lock'):
      lock = os.open(folder + '/lock', os.O_RDWR)
      fcntl.flock(lock, fcntl.LOCK_EX)
      os.close(lock)

    def end_with_parent():
      ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    with open(folder + '.log', 'a', encoding='utf-8') as log:
      began = log.tell()  # after what an earlier attempt said
      done = subprocess.run(command, cwd=directory, env=os.environ | environment, stdout=log,
                            stderr=log, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent)
    if done.returncode:
      with open(folder + '.log', encoding='utf-8', errors='replace') as log:
        log.seek(began)
        lines = log.read().strip().splitlines() or ['']
      raise RuntimeError(f'exit code {done.returncode}, {lines[-1]} (see {folder}.log)')

  return train
