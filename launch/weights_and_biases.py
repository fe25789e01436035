"""Weights & Biases beside TensorBoard: the same curves, by wandb's own synchronisation."""

import contextlib
import pathlib
import secrets
from collections.abc import Iterator

from asm_tf.errors import UserError, one_line
from launch import command_line


@contextlib.contextmanager
def synchronised(project: str | None, root_dir: str, resume: bool = False) -> Iterator[None]:
  """Sends what the run writes to TensorBoard within the context; None sends nothing.

  Its own files lie in the folder `wandb` beside the run's.

  Args:
    project: of Weights & Biases.
    root_dir: of the run, after which it is named there.
    resume: goes on with the folder's run there, if there is one; else that is begun anew.

  Raises:
    UserError: if wandb is not installed, or cannot begin.
  """
  if project is None:
    yield
    return
  try:
    import wandb
  except ImportError as error:
    raise UserError('--wandb needs the package wandb: pip install wandb.') from error
  folder = pathlib.Path(root_dir).absolute()
  command_line.make_folder(folder.parent)
  try:
    run = wandb.init(project=project, name=folder.name, sync_tensorboard=True,
                     resume='allow' if resume else None,
                     id=_id_of(folder, resume),
                     dir=str(folder.parent))
  except (wandb.errors.Error, ValueError) as error:
    raise UserError(f'--wandb={project} cannot begin ({one_line(error)}): log in with '
                    '`wandb login`, or set WANDB_MODE=offline.') from error
  exit_code = 1
  try:
    yield
    exit_code = 0
  finally:
    run.finish(exit_code)


def _id_of(folder, resume):
  """The identity of a run there: kept beside its folder, and new where a run is begun anew.

  The folder's path alone may be that of another machine's run.
  """
  kept = folder.parent / 'wandb' / f'{folder.name}.id'
  if resume and kept.exists():
    return kept.read_text(encoding='utf-8')
  identity = secrets.token_hex(8)
  command_line.make_folder(kept.parent)
  command_line.write_text(kept, identity)
  return identity
