"""Whatever is wrong with the input of any command: one line, exit code 2, and nothing lost."""

import fcntl
import hashlib
import importlib
import json
import logging
import os
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

import gin
import pytest
from absl import flags

from launch import main as launch_main

SMALL = ('HORIZON=4', 'NUM_ENV_STEPS=16', 'Trainer.warmup_steps=8', 'Trainer.batch_size=4',
         'Execution.jit_compile=False', 'Execution.microbatches=1',
         'TrainingLoop.eval_interval=8', 'TrainingLoop.checkpoint_interval=8')
# What builds fastest, for what is wrong with more than an agent.
SEARCH = ('--gin_file=gin/myriad_cem.gin',)
LSTM = ('--gin_file=gin/myriad_lstm.gin', 'LSTM.embedding_size=4', 'LSTM.hidden_sizes=(4,)',
        'SquashedGaussianActor.hidden_sizes=(4,)', 'PolicyLearner.batch_size=4')


class Case(NamedTuple):
  """Arguments, in which {dir} is the folder of the test; bindings have no flag before them."""
  command: str
  arguments: tuple[str, ...]
  cause: str
  prepare: Callable[[pathlib.Path], object] | None = None
