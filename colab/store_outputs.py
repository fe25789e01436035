"""Executes the notebook and stores what its cells print and draw, so that it can be read unexecuted.

    python colab/store_outputs.py
"""

import os
import pathlib
import sys
import tempfile

import nbclient
import nbformat

from asm_tf import atomic_files

NOTEBOOK = pathlib.Path(__file__).with_name('asm_tf.ipynb')


def main() -> None:
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  with tempfile.TemporaryDirectory() as run:
    execute(notebook, 3600, ASM_TF_RUN=f'{run}/colab')
    for cell in notebook.cells:
      cell.metadata.pop('execution', None)  # its times
      if cell.cell_type == 'code':
        cell.execution_count, cell.outputs = None, shown(cell.outputs, run)
      if cell.id == 'tensorboard':
        cell.outputs = []  # a window on a server that is gone
  atomic_files.write_text(NOTEBOOK, nbformat.writes(notebook))


def execute(notebook: nbformat.NotebookNode, seconds_a_cell: int, **variables: str) -> None:
  """Executes a notebook in a fresh kernel, which sees the programs of this environment first."""
  programs = f'{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
  nbclient.NotebookClient(
      notebook, timeout=seconds_a_cell, resources={'metadata': {'path': str(NOTEBOOK.parent)}}
  ).execute(env=os.environ | {'PATH': programs} | variables)


def shown(outputs: list, run: str) -> list:
  """The outputs of a cell as a terminal shows them: of a progress bar its last state."""
  kept: list = []
  for output in outputs:
    if output.output_type != 'stream':
      kept.append(output | {'execution_count': None} if 'execution_count' in output else output)
    elif kept and kept[-1].get('name') == output.name:
      kept[-1].text += output.text
    else:
      kept.append(output)
  for output in kept:
    if output.output_type == 'stream':
      lines = (line.rstrip('\r').rsplit('\r', 1)[-1] for line in output.text.split('\n'))
      output.text = '\n'.join(lines).replace(f'{run}/', 'runs/')
  return kept


if __name__ == '__main__':
  try:
    main()
  except nbclient.exceptions.DeadKernelError:  # which nbclient makes of Ctrl-C as well
    sys.exit('error: the kernel ended, interrupted or killed: the notebook is as it was.')
