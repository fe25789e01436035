"""Whatever is wrong with the input of any command: one line, exit code 2, and nothing lost."""

import contextlib
import fcntl
import hashlib
import importlib
import json
import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import gin
import pytest
from absl import flags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asm_tf import configurables  # noqa: F401  what gin knows
from asm_tf.errors import UserError
from asm_tf.experiments.theory.sweep import cells as theory_cells
from asm_tf.training import train as train_module
from launch import command_line
from launch import main as launch_main
from tests.support import gymnasium_environments  # noqa: F401  registers them
from tests.support.paths import REPOSITORY

CEM, LSTM, GYMNASIUM, FIGURE, SWEEP = (f'--gin_file=gin/{name}.gin' for name in (
    'myriad_cem', 'myriad_lstm', 'gymnasium', 'figures/theory', 'sweeps/smoke'))
NEW, RUN = '--root_dir={dir}/new', '--root_dir={dir}/run'
SMALL = (
    'HORIZON=4', 'NUM_ENV_STEPS=16', 'Trainer.warmup_steps=8', 'Trainer.batch_size=4',
    'TrainingLoop.eval_interval=8', 'Execution.jit_compile=False', 'Execution.microbatches=1',
    'LSTM.embedding_size=4', 'LSTM.hidden_sizes=(4,)', 'RNN.hidden_sizes=(4,)',
    'Markov.hidden_sizes=(4,)', 'RewardModel.hidden_sizes=(4,)', 'Critic.hidden_sizes=(4,)',
    'SquashedGaussianActor.hidden_sizes=(4,)', 'PolicyLearner.batch_size=4',
    'SacNetworks.critic_hidden_sizes=(4,)', 'SacNetworks.actor_hidden_sizes=(4,)')

UNREAD = [f'--gin_bindings={binding.split("=")[0]}=... changes nothing: no part of this run reads '
          'it.\n' for binding in SMALL]


class Case(NamedTuple):
  """What a user types, and what the line then names.

  Attributes:
    command: module of launch/.
    arguments: in them, {dir} is the test's folder. {dir}/run is a finished run.
    cause: what the line holds.
    prepare: function (folder) that spoils something in it; what it returns is kept meanwhile.
    environment: variables.
    starts: the mistake shows only in the environment: there is a new run by then.
    alone: in a process of its own, where nothing may be on stderr but the line.
  """
  command: str
  arguments: tuple[str, ...]
  cause: str
  prepare: Callable[[pathlib.Path], object] = lambda folder: None
  environment: dict[str, str] = {}
  starts: bool = False
  alone: bool = False

  def __str__(self):
    short = (part.replace('--gin_bindings=', '').replace('--gin_file=', '')
             for part in self.arguments if part not in bindings())
    return ' '.join([self.command, *short])[:90]


def bindings(*values):
  return tuple(f'--gin_bindings={value}' for value in (*SMALL, *values))


def bound(gin_file, cause, *values, **more):
  return Case('main', (gin_file, *bindings(*values), NEW), cause, **more)


def last(name):
  """A binding as every line names it."""
  return name.split('.')[-1].lower()


def written(name, content):
  """Puts a text or bytes into a file of the folder."""
  def prepare(folder):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
      shutil.rmtree(path)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return prepare


def cut(name, share=0.5):
  def prepare(folder):
    for path in folder.glob(name):
      path.write_bytes(path.read_bytes()[:int(len(path.read_bytes()) * share)])
  return prepare


def without(*names):
  def prepare(folder):
    for name in names:
      for path in folder.glob(name):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
  return prepare


def folder_for(name):
  """A folder in the place of a file."""
  def prepare(folder):
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir(parents=True)
  return prepare


def loop_for(name):
  """A symbolic link to itself in the place of a file."""
  def prepare(folder):
    without(name)(folder)
    (folder / name).symlink_to(folder / name)
  return prepare


def locked(name):
  def prepare(folder):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    file = (folder / name).open('a')
    fcntl.flock(file, fcntl.LOCK_EX)
    return file
  return prepare


def both(*prepares):
  return lambda folder: [prepare(folder) for prepare in prepares]


FLAGS = [
    Case('main', (), '--gin_file is missing', alone=True),
    Case('main', (LSTM, '--sede=1'), 'sede'),
    Case('main', (LSTM, '--seed=x'), 'seed'),
    Case('main', (LSTM, '--seed=1.5'), 'seed'),
    Case('main', (LSTM, '--seed=-1'), 'seed'),
    Case('main', (LSTM, f'--seed={2**32}'), 'seed'),
    Case('main', (LSTM, '--resume=maybe'), 'resume'),
    Case('main', (LSTM, '--resume'), '--root_dir'),
    Case('main', (LSTM, '--strategy=gpus'), 'strategy'),
    Case('main', (LSTM, '--replicas=0'), 'replicas'),
    Case('main', (LSTM, '--replicas=two'), 'replicas'),
    Case('main', (LSTM, NEW, '--replicas=2', '--strategy=one_device'), '--replicas=2'),
    Case('main', (LSTM, NEW, '--tpu=local', '--use_gpu'), '--tpu=local'),
    Case('main', (LSTM, NEW, '--strategy=multi_worker'), 'TF_CONFIG'),
    *(Case('main', (LSTM, NEW), 'TF_CONFIG', environment={'TF_CONFIG': text}) for text in (
        '{', '[]', '{"cluster": {"worker": "a"}, "task": 3}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 7}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "0"}}')),
    Case('main', ('gin/myriad_lstm.gin',), '--gin_file=gin/myriad_lstm.gin is meant'),
    Case('main', (LSTM, 'faster'), "'faster'"),
    Case('main', ('--gin_file=',), 'does not exist'),
    Case('main', ('--gin_file=gin/nothing.gin', NEW), 'gin/nothing.gin does not exist'),
    Case('main', ('--gin_file=gin', NEW), 'gin'),
    Case('main', ('--gin_file=README.md', NEW), 'README.md'),
    Case('main', ('--gin_file=gin/models/lstm.gin', NEW), 'sweeps: launch.sweep'),
    Case('main', (FIGURE, NEW), 'sweeps: launch.sweep'),
    Case('main', (SWEEP, NEW), 'sweeps: launch.sweep'),
    *(Case('main', ('--gin_file={dir}/x.gin', NEW), 'x.gin', written('x.gin', content))
      for content in (b'\xff\xfe\x00' * 9, 'HORIZON = ', "include 'nothing.gin'", 'import trap',
                      'a = (1,', "include '{'", b'a\x00b = 3')),
    Case('main', ('--gin_file={dir}/x.gin', NEW), 'x.gin', loop_for('x.gin')),
    Case('evaluate', (), 'run_dir'),
    Case('evaluate', ('--run_dir={dir}/run', '--episodes=0'), 'episodes'),
    Case('evaluate', ('--run_dir={dir}/run', '--episodes=all'), 'episodes'),
    Case('evaluate', ('--run_dir={dir}/run', '--horizon=1'), 'horizon'),
    Case('evaluate', ('--run_dir={dir}/run', '--horizon=9'), '--horizon=9'),
    Case('evaluate', ('--run_dir={dir}/run', '--list'), 'list'),
    Case('evaluate', ('--run_dir={dir}/run', '--plot={dir}'), 'is a directory'),
    Case('evaluate', ('--run_dir={dir}/run', '--plot={dir}/no/x.png'), 'no directory'),
    Case('evaluate', ('--run_dir={dir}/run', '--plot={dir}/x.gif'), 'ends with .png'),
    Case('evaluate', ('--run_dir={dir}/run', '--plot=/proc/x.png'), '/proc/x.png'),
    Case('evaluate', ('--run_dir={dir}/run', '--video={dir}/film.avi'), 'neither .gif nor .mp4'),
    Case('evaluate', ('--run_dir={dir}/run', '--video={dir}/film.gif'), 'draws no pictures'),
    Case('figure', (), 'gin_file'),
    Case('figure', (FIGURE, '--preset=huge'), 'preset'),
    Case('figure', (FIGURE, '--out'), 'out'),
    Case('figure', ('--gin_file=gin/figures/x.gin',), 'gin/figures/x.gin does not exist'),
    Case('figure', (LSTM, '--out={dir}/out'), 'give a file of gin/figures/'),
    Case('report', (), 'FOLDER is missing'),
    Case('report', ('a', 'b'), "'b'"),
    Case('report', ('{dir}/none',), 'is not a folder'),
    Case('sweep', (), 'gin_file'),
    Case('sweep', ('--gin_file=gin/sweeps/x.gin',), 'gin/sweeps/x.gin does not exist'),
    Case('sweep', (LSTM, '--out={dir}/out'), 'gin/sweeps/smoke.gin'),
    Case('sweep', (SWEEP, '--out={dir}/out', '--gin_bindings=LSTM.x=5'), 'LSTM'),
    Case('sweep', (SWEEP, '--gin_file=gin/agents/learned_reward.gin', '--out={dir}/out'),
         'would not reach the runs'),
    Case('sweep', (SWEEP, '--out={dir}/out', '--address=127.0.0.1:1'), 'no Ray cluster',
         starts=True),
    Case('sweep', (SWEEP, '--out={dir}/out', '--address=nowhere:port'), 'no Ray cluster',
         starts=True),
    Case('simulate', (), 'system'),
    Case('simulate', ('--system=Cancer',), 'CancerTreatment, Bioreactor'),
    Case('simulate', ('--system=CancerTreatment', '--horizon=1'), 'at least 2'),
    Case('simulate', ('--system=CancerTreatment', '--horizon=many'), 'horizon'),
    Case('simulate', ('--system=CancerTreatment', f'--horizon={10**14}'), 'smaller horizon'),
    Case('simulate', ('--system=CancerTreatment', f'--horizon={10**30}'), 'horizon'),
    Case('simulate', ('--system=DoublePendulum', f'--horizon={10**14}'), 'smaller horizon'),
    Case('simulate', ('--system=CancerTreatment', '--seed=-1'), 'seed'),
    Case('simulate', ('--system=CancerTreatment', '--dtype=float16'), 'dtype'),
    Case('simulate', ('--system=CancerTreatment', '--actions=best'), 'can not be read'),
    Case('simulate', ('--system=CancerTreatment', '--actions='), 'can not be read'),
    Case('simulate', ('--system=CancerTreatment', '--actions=2'), 'outside [-1, 1]'),
    Case('simulate', ('--system=CancerTreatment', '--actions=nan'), 'NaN'),
    Case('simulate', ('--system=CancerTreatment', '--actions=-inf'), 'outside [-1, 1]'),
    Case('simulate', ('--system=CancerTreatment', '--actions=optimal', '--horizon=7'),
         'launch.solve'),
    Case('simulate', ('--system=CancerTreatment', '--out={dir}'), 'is a directory'),
    Case('simulate', ('--system=CancerTreatment', '--out=/no/such/place/x.json'), 'no directory'),
    Case('simulate', ('--system=CancerTreatment', '--out=/proc/x.json'), '/proc/x.json'),
    Case('simulate', ('--system=CancerTreatment', '--plot={dir}'), 'is a directory'),
    Case('simulate', ('--system=CancerTreatment', '--plot={dir}/x.pdf'), 'ends with .png'),
    Case('simulate', ('--system=CancerTreatment', '--out={dir}/x.png'), '--out another'),
    Case('simulate', ('--system=CancerTreatment', '--plot={dir}/x.json/y.png'), 'no directory',
         written('x.json', '')),
    *(Case('simulate', ('--system=CancerTreatment', '--actions={dir}/in.json',
                        '--out={dir}/out.json'), cause,
           both(written('in.json', content), written('out.json', 'kept')))
      for content, cause in (
          ('[[0.1], [0.2', 'is not JSON'), (b'\xff\xfe', 'is not JSON'), ('', 'is not JSON'),
          ('[' * 100_000, 'is not JSON'), ('{"controls": []}', 'no key "actions"'),
          ('[["a"]]', 'not a table of numbers'), ('[[0.1], [0.1, 0.2]]', 'not a table of numbers'),
          (f'[[1{"0" * 400}]]', 'not a table of numbers'), ('{"actions": {}}', 'not a table'),
          (json.dumps([[0.1]] * 19), 'shape [19, 1]'), (json.dumps([0.1] * 20), 'shape [20]'),
          ('null', 'shape []'), ('7', 'shape []'),
          (json.dumps([[0.1]] * 19 + [[1.5]]), 'outside [-1, 1]'),
          (json.dumps([[0.1]] * 19 + [[float('nan')]]), 'NaN'))),
    Case('simulate', ('--system=CancerTreatment', '--actions={dir}'), 'can not be read'),
    Case('solve', ('--system=Cancer',), 'CancerTreatment, Bioreactor'),
    *(Case('solve', ('--system=CancerTreatment', f'--horizon={horizon}'), '--horizon')
      for horizon in ('1', '-20', '20,x', '20,,50', '', '1e3')),
    Case('solve', ('--system=CancerTreatment', f'--horizon={10**14}'), 'smaller horizon'),
    Case('solve', ('--save=always',), 'save'),
    Case('solve', ('CancerTreatment',), "'CancerTreatment'"),
]

# What no numeric binding of the default configuration takes.
NUMBERS = ('train.seed', 'HORIZON', 'NUM_ENV_STEPS', 'TrainingLoop.eval_interval',
           'TrainingLoop.checkpoint_interval', 'Trainer.warmup_steps', 'Trainer.model_period',
           'Trainer.batch_size', 'ColoredNoise.exponent', 'UniformSteps.per_episode',
           'EpisodeReplayBuffer.capacity', 'EpisodeReplayBuffer.batch_steps',
           'AsmAgent.policy_period', 'PolicyLearner.batch_size', 'PolicyLearner.learning_rate',
           'PolicyLearner.clip_norm', 'PolicyLearner.entropy_constant',
           'ModelLearner.learning_rate', 'Normalizer.margin', 'AveragedActor.rate',
           'SquashedGaussianActor.hidden_sizes', 'LSTM.embedding_size', 'LSTM.hidden_sizes')
OPTIONAL = ('EpisodeReplayBuffer.batch_steps', 'Normalizer.margin')
NO_NUMBERS = ('-1', '1e999', '@not_a_number()', "'many'", '[0.5]')

BINDINGS = [
    *(bound(LSTM, last(name), f'{name}={value}') for name in NUMBERS for value in NO_NUMBERS),
    *(bound(LSTM, last(name), f'{name}={value}')
      for name in ('HORIZON', 'Trainer.batch_size', 'PolicyLearner.learning_rate')
      for value in ('-1e999', 'True', '{}', '()', '1' + 400 * '0', '@LSTM')),
    bound(LSTM, 'NOTHING', 'HORIZON=%NOTHING'),
    *(bound(LSTM, last(name), f'{name}=None') for name in NUMBERS if name not in OPTIONAL),
    *(bound(LSTM, last(name), f'{name}=0') for name in NUMBERS if name not in (
        'train.seed', 'ColoredNoise.exponent', 'UniformSteps.per_episode',
        'PolicyLearner.entropy_constant')),
    # Names, typos and what is no binding.
    bound(CEM, 'HORIZON, NUM_ENV_STEPS, SYSTEM', 'HORZON=30'),
    bound(LSTM, 'hidden', 'LSTM.hidden=3'),
    bound(CEM, '@Nothing', 'SYSTEM=@Nothing'),
    bound(CEM, 'Is Trainer or train meant?', 'Trainr.batch_size=3'),
    bound(CEM, 'gradient_accuracy.run', 'run.models=3'),
    bound(CEM, 'NAME=VALUE', 'no binding at all'),
    bound(CEM, 'NAME=VALUE', 'HORIZON'),
    bound(CEM, 'not valid', '=3'),
    bound(CEM, 'HORIZON', 'HORIZON=%HORIZON'),
    bound(CEM, 'given by itself', 'HORIZON=%NUM_ENV_STEPS', 'NUM_ENV_STEPS=%HORIZON'),
    bound(CEM, 'SYSTEM=@HIVTreatment is meant', "SYSTEM='HIVTreatment'"),
    bound(CEM, 'SYSTEM=@CancerTreatment is meant', 'SYSTEM=CancerTreatment'),
    bound(CEM, 'not valid', 'Trainer.batch_size=int'),
    bound(CEM, 'not valid', 'Trainer.batch_size=2**3'),
    bound(CEM, 'not_there', 'import not_there_at_all'),
    bound(CEM, 'not_there', "include 'not_there.gin'"),
    bound(LSTM, 'dtype', "LSTM.dtype='float64'"),
    bound(CEM, 'dtype', "CancerTreatment.dtype='float64'"),
    bound(LSTM, 'setup', 'make_asm_agent.setup=4'),
    bound(LSTM, 'PolicyLearner.entropy_constant now', 'make_asm_agent.entropy_constant=4'),
    # Classes and functions.
    *(bound(CEM, 'SYSTEM', f'SYSTEM={value}') for value in (
        '3', 'None', '[]', '@LSTM', '@CancerTreatment()', '@make_asm_agent')),
    *(bound(LSTM, name, f'{name}={value}') for name in (
        'train.make_trainer', 'train.make_agent', 'train.make_loop', 'train.make_execution',
        'make_asm_agent.world_model', 'make_asm_agent.actor', 'make_asm_agent.agent',
        'make_asm_agent.model_learner', 'make_asm_agent.policy_learner',
        'make_asm_agent.reward_model', 'make_asm_agent.critic') for value in ('3', "'LSTM'")),
    bound(LSTM, 'SequenceModel', 'make_asm_agent.world_model=@CancerTreatment'),
    bound(LSTM, 'reward_model', 'make_asm_agent.reward_model=@ColoredNoise'),
    bound(GYMNASIUM, 'EntropyConstant', 'Critic.entropy_constant=@EntropyConstant'),
    bound(GYMNASIUM, 'entropy_constant', 'Critic.entropy_constant=0.1'),
    # Switches and words.
    *(bound(CEM, name, f'{name}={value}') for value in ("'yes'", '2', 'None') for name in (
        'Execution.jit_compile', 'SequenceSearchAgent.refit', 'Normalizer.enabled')),
    *(bound(CEM, 'product_dtype', f'Execution.product_dtype={value}')
      for value in ("'float16'", '[]', '3')),
    bound(LSTM, 'uniform, inverse_time', "ModelLearner.loss_weighting='octaves'"),
    # Numbers of other configurations.
    bound(CEM, 'from 0 to', f'train.seed={2**32}'),
    bound(CEM, 'cannot be read', 'HORIZON=(1,'),
    bound(CEM, 'smaller horizon', f'HORIZON={10**14}'),
    bound(CEM, 'fewer distractors', f'CancerTreatment.distractors={10**17}'),
    bound(CEM, 'a batch would take', f'Trainer.batch_size={10**15}'),
    bound(CEM, 'the replay of this run would take', f'NUM_ENV_STEPS={10**17}',
          f'EpisodeReplayBuffer.capacity={10**17}'),
    bound(LSTM, 'too little memory', f'LSTM.hidden_sizes=({10**14},)'),
    bound(LSTM, 'too little memory', f'LSTM.embedding_size={10**18}'),
    bound(LSTM, 'too little memory', f'LSTM.embedding_size={10**14}', alone=True),
    bound(LSTM, 'initial_std', 'SquashedGaussianActor.initial_std=-1'),
    bound(LSTM, 'initial_mean_variance', 'SquashedGaussianActor.initial_mean_variance=0'),
    bound(LSTM, 'hidden_sizes is 0', 'LSTM.hidden_sizes=(64, 0)'),
    bound(LSTM, 'hidden_sizes', 'LSTM.hidden_sizes=(4, None)'),
    bound(LSTM, 'hidden_sizes', 'LSTM.hidden_sizes=()'),
    bound(CEM, 'elite', 'SequenceSearchAgent.elite=99'),
    bound('--gin_file=gin/myriad_transformer.gin', 'num_layers',
          f'Transformer.num_layers={10**12}'),
    bound('--gin_file=gin/myriad_transformer.gin', 'num_heads', 'Transformer.num_heads=5'),
    bound('--gin_file=gin/myriad_transformer.gin', 'dropout', 'Transformer.dropout=1.0'),
    bound('--gin_file=gin/myriad_ssm.gin', 'num_layers', f'StateSpace.num_layers={10**12}'),
    bound('--gin_file=gin/double_pendulum.gin', 'substeps', 'DoublePendulum.substeps=0'),
    bound('--gin_file=gin/double_pendulum.gin', 'substeps', f'DoublePendulum.substeps={10**12}'),
    bound('--gin_file=gin/double_pendulum.gin', 'goal_action', 'DoublePendulum.goal_action=1e999'),
    bound('--gin_file=gin/credit_assignment.gin', 'distractor_std',
          'ToyCreditAssignment.distractor_std=-1'),
    *(bound('--gin_file=gin/myriad_sac.gin', name, f'{name}={value}') for name, value in (
        ('SoftActorCritic.discount', '2'), ('SoftActorCritic.target_update_tau', '0'),
        ('SacNetworks.actor_hidden_sizes', '()'), ('EntropyConstant.initial', '0'),
        ('SoftActorCritic.policy_period', '3'), ('WindowReplayBuffer.capacity', '1'))),
    *(bound('--gin_file=gin/myriad_odt.gin', cause, *values) for cause, *values in (
        ('target_score', 'HORIZON=20', 'make_decision_transformer_agent.target_score=1e999'),
        ('context_size', 'HORIZON=20', 'DecisionTransformer.context_size=0'),
        ('launch.solve', 'HORIZON=7'))),
    # Environments of Gymnasium.
    *(bound(GYMNASIUM, cause, f'ENVIRONMENT={value}') for cause, value in (
        ('ENVIRONMENT', '3'), ('id of a Gymnasium', "''"), ('Nothing-v0', "'Nothing-v0'"),
        ('CartPole-v1', "'CartPole-v1'"), ('Pendulum-v99', "'Pendulum-v99'"),
        ('import os', "'os:Pendulum-v1'"), ("'Pendulum-v1' is meant", 'Pendulum-v1'))),
    bound(GYMNASIUM, 'Pendulum-v0', "ENVIRONMENT='Pendulum-v0'", alone=True),
    bound(GYMNASIUM, '200', 'HORIZON=201'),
    *(bound(GYMNASIUM, 'kwargs' if value[0] != '{' else 'Pendulum-v1',
            f'GymnasiumSystem.kwargs={value}') for value in ('3', "'g'", '[1]', "{'x': 1}")),
    *(bound(GYMNASIUM, 'wrappers', f'GymnasiumSystem.wrappers={value}') for value in (
        '3', "'ClipReward'", "['Clip']", "[('ClipReward', 3)]", "[('ClipReward', {}, 1)]", '[()]',
        "[('ClipReward', {'x': 1})]", "['os.path.Clip']")),
    bound(GYMNASIUM, 'copies', 'GymnasiumSystem.copies=0'),
    *(bound(GYMNASIUM, cause, "ENVIRONMENT='asm_tf_test/Spaces-v0'",
            f'GymnasiumSystem.kwargs={kwargs}') for cause, kwargs in (
                ('reset() returns a list', "{'reset': [0.0, 0.0]}"),
                ('step() returns a tuple of 4', "{'step': ([0.0, 0.0], 0.0, False, {})}"))),
    *(bound(GYMNASIUM, cause, "ENVIRONMENT='asm_tf_test/Corridor-v0'",
            f'GymnasiumSystem.kwargs={kwargs}', starts=True) for cause, kwargs in (
                ('gave 2 numbers as the reward', "{'reward_sizes': (2,)}"),
                ('gave the reward nan', "{'nan_reward_at': 1}"),
                ('not finite', "{'nan_at': 1}"),
                ('raised ZeroDivisionError', "{'raise_at': 2}"))),
    bound(GYMNASIUM, 'gave None as the reward', "ENVIRONMENT='asm_tf_test/Spaces-v0'",
          "GymnasiumSystem.kwargs={'step': ([0.0, 0.0], None, False, False, {})}", starts=True),
    bound(GYMNASIUM, 'can_terminate=True', "ENVIRONMENT='asm_tf_test/Corridor-v0'", 'HORIZON=8',
          'GymnasiumSystem.can_terminate=False', starts=True),
    bound(GYMNASIUM, 'GradientComparison.period', 'GradientComparison.period=1'),
    bound(GYMNASIUM, 'critic', 'make_asm_agent.critic=None'),
    bound(GYMNASIUM, 'learned_reward', 'make_asm_agent.reward_model=None'),
    # Figures and sweeps.
    *(Case('figure', (FIGURE, '--out={dir}/out', '--preset=smoke', f'--gin_bindings={value}'),
           cause) for value, cause in (
               ('HORIZON=3', 'sets a macro'),
               ('figure.table=3', 'figure.table'), ('figure.draw=@nothing', '@nothing'),
               ('theory.cells.preset=3', 'preset'), ('figure.cells=@LSTM', 'figure.cells'))),
    *(Case('sweep', (SWEEP, '--out={dir}/out', f'--gin_bindings={name}={value}'), cause)
      for name, value, cause in (
          ('training_cells.models', "'myriad_lstm'", 'models'),
          ('training_cells.models', "['nothing']", 'gin/nothing.gin'),
          ('training_cells.models', '[3]', 'models'),
          ('training_cells.systems', "['Cancer']", "'Cancer'"),
          ('training_cells.horizons', '[0]', 'horizons'),
          ('training_cells.horizons', "['20']", 'horizons'),
          ('training_cells.horizons', '[None]', 'horizons'),
          ('training_cells.num_seeds', '0', 'num_seeds'),
          ('training_cells.num_seeds', '1e999', 'num_seeds'),
          ('training_cells.num_env_steps', '-1', 'num_env_steps'),
          ('training_cells.variations', '3', 'variations'),
          ('training_cells.variations', "{'a b': [1]}", 'a b'),
          ('training_cells.variations', "{'HORIZON': [1]}", 'HORIZON'),
          ('training_cells.variations', "{'LSTM.x': [{}]}", 'LSTM.x'),
          ('training_cells.variations', "{'LSTM.x': 3}", 'LSTM.x'),
          ('run_sweep.cpus_per_run', '0', 'cpus_per_run'),
          ('run_sweep.cpus_per_run', '1.5', 'cpus_per_run'),
          ('run_sweep.gpus_per_run', '-1', 'gpus_per_run'),
          ('run_sweep.gpus_per_run', '1.5', 'a share from 0.0001 to 1, or a whole number'),
          ('run_sweep.gpus_per_run', '1e-5', 'a share from 0.0001 to 1, or a whole number'),
          ('run_sweep.retries', 'None', 'retries'))),
]

OLD_RUN = '{"versions": {"tensorflow": "2.20"}}'
EVALUATE = ('evaluate', ('--run_dir={dir}/run',))
RESUME = ('main', (CEM, *bindings(), RUN, '--resume'))
REPORT = ('report', ('{dir}',))
REPRODUCE = ('main', ('--reproduce={dir}/run', NEW))
FIGURES = ('figure', (FIGURE, '--out={dir}/out', '--preset=smoke'))
SWEEPS = ('sweep', (SWEEP, '--out={dir}/out'))

FOLDERS = [
    # Runs where there is no place for them.
    Case('main', (CEM, *bindings(), RUN), 'already holds a run'),
    Case('main', (CEM, *bindings(), NEW), 'is a file', written('new', '')),
    Case('main', (CEM, *bindings(), NEW), 'holds no run', written('new/thesis.tex', 'kept')),
    Case('main', (CEM, *bindings(), '--root_dir={dir}/file/new'), 'file', written('file', '')),
    Case('main', (CEM, *bindings(), NEW), 'new', loop_for('new')),
    Case('main', (CEM, *bindings(), NEW), 'new/lock', folder_for('new/lock')),
    *(Case('main', (CEM, *bindings(), f'--root_dir={path}'), 'give a')
      for path in ('/proc/run', '/dev/null/run', f'/tmp/{300 * "x"}')),
    Case('main', (CEM, *bindings(), NEW), 'another process is training', locked('new/lock')),
    # Runs that cannot be gone on with.
    Case(*RESUME, 'another process is training', locked('run/lock')),
    Case('main', (CEM, *bindings('HORIZON=5'), RUN, '--resume'), 'HORIZON = 4, not 5'),
    Case('main', (LSTM, *bindings(), RUN, '--resume'), 'holds a run with'),
    Case(*RESUME, 'asm_tf 0.1', written('run/run.json', OLD_RUN)),
    Case(*RESUME, 'config.gin', written('run/config.gin', b'\xff\xfe\x00' * 9)),
    Case(*RESUME, 'config.gin', folder_for('run/config.gin')),
    Case(*RESUME, 'holds no run', loop_for('run/config.gin')),
    Case(*RESUME, 'holds no run', without('run/config.gin')),
    Case(*RESUME, 'without its checkpoints', without('run/checkpoints')),
    Case(*RESUME, 'no checkpoint', cut('run/checkpoints/*.index')),
    Case(*RESUME, 'no checkpoint', cut('run/checkpoints/*.data*')),
    Case(*RESUME, 'no checkpoint', cut('run/checkpoints/*', 0)),
    Case(*RESUME, 'no checkpoint', cut('run/metrics.jsonl', 0)),
    Case(*RESUME, 'no checkpoint', written('run/metrics.jsonl', b'\xff{"env_steps": \n' * 9)),
    Case(*RESUME, 'no checkpoint', written('run/metrics.jsonl', '[]\n' * 9)),
    Case(*RESUME, 'metrics.jsonl', folder_for('run/metrics.jsonl')),
    Case(*RESUME, 'checkpoints', written('run/checkpoints', 'a file')),
    Case(*RESUME, 'run.json', folder_for('run/run.json')),
    Case(*RESUME, 'summary.json', folder_for('run/summary.json')),
    Case(*RESUME, 'train', written('run/train', 'a file')),
    Case(*RESUME, 'policy', written('run/policy', 'a file')),
    # Runs that cannot be started again.
    Case('main', ('--reproduce={dir}/run', CEM), 'leave --gin_file'),
    Case('main', ('--reproduce={dir}/none',), 'holds no run'),
    Case('main', ('--reproduce={dir}/file',), 'holds no run', written('file', '')),
    Case(*REPRODUCE, 'holds no run', without('run/run.json')),
    Case(*REPRODUCE, 'config.gin', without('run/config.gin')),
    Case(*REPRODUCE, 'config.gin', written('run/config.gin', b'\xff\xfe\x00' * 9)),
    Case(*REPRODUCE, 'HORIZON', written('run/config.gin', "HORIZON = 'x'\ntrain.horizon=%HORIZON")),
    *(Case(*REPRODUCE, 'holds no run', written('run/run.json', content)) for content in (
        '', '{}', '[]', 'null', '{"seed": "x", "versions": {}}', '{"seed": 1, "versions": 3}',
        '{"seed": null, "versions": {}}', b'\xff\xfe')),
    Case(*REPRODUCE, 'seed', written('run/run.json', json.dumps(
        {'seed': -1, 'gin_files': [], 'gin_bindings': [], 'versions': {'asm_tf': '1'}}))),
    # Runs that cannot be evaluated.
    Case('evaluate', ('--run_dir={dir}/none',), 'holds no run'),
    Case('evaluate', ('--run_dir=',), 'holds no run'),
    Case('evaluate', ('--run_dir={dir}/file',), 'holds no run', written('file', '')),
    Case('evaluate', ('--run_dir={dir}/loop',), 'holds no run', loop_for('loop')),
    Case(*EVALUATE, 'holds no run', without('run/config.gin')),
    Case(*EVALUATE, 'has not finished', without('run/summary.json')),
    Case(*EVALUATE, 'has not finished', folder_for('run/summary.json')),
    Case(*EVALUATE, 'asm_tf 0.1', written('run/run.json', OLD_RUN)),
    *(Case(*EVALUATE, 'config.gin', written('run/config.gin', content)) for content in (
        '', b'\xff\xfe\x00' * 9, 'import antigravity\n', 'train.seed = 0', "include 'no.gin'")),
    Case(*EVALUATE, 'horizon', lambda folder: change(folder, 'HORIZON = 4', "HORIZON = 'x'")),
    Case(*EVALUATE, 'horizon', lambda folder: change(folder, 'HORIZON = 4', 'HORIZON = 1')),
    Case(*EVALUATE, 'SYSTEM', lambda folder: change(folder, '@CancerTreatment', '3')),
    Case(*EVALUATE, 'policy', lambda folder: change(folder, '@CancerTreatment', '@OneBounce')),
    Case(*EVALUATE, 'policy', without('run/policy')),
    Case(*EVALUATE, 'policy', written('run/policy', 'a file')),
    Case(*EVALUATE, 'policy', cut('run/policy/saved_model.pb')),
    Case(*EVALUATE, 'policy', cut('run/policy/variables/*', 0)),
    # Runs that cannot be reported on.
    Case('report', ('{dir}/file',), 'is not a folder', written('file', '')),
    Case('report', ('{dir}/empty',), 'holds no run', folder_for('empty')),
    Case(*REPORT, 'has an evaluation yet', cut('run/metrics.jsonl', 0)),
    Case(*REPORT, 'has an evaluation yet', without('run/metrics.jsonl')),
    *(Case(*REPORT, 'holds no run', written('run/metrics.jsonl', content)) for content in (
        '{"env_steps": \n' * 3, b'\xff\xfe\n', '[]\n', '7\n', '{}\n', 'null\n')),
    Case(*REPORT, 'holds no run', folder_for('run/metrics.jsonl')),
    *(Case(*REPORT, 'holds no run', written('run/run.json', content)) for content in (
        '', '{', '[]', '7', '{}', b'\xff\xfe', '{"gin_files": 3, "gin_bindings": 3}')),
    Case(*REPORT, 'holds no run', folder_for('run/run.json')),
    *(Case(*REPORT, 'holds no run', written('run/config.gin', content)) for content in (
        '', b'\xff\xfe', "HORIZON = 'x'\nNUM_ENV_STEPS = 3\nSYSTEM = @A")),
    Case(*REPORT, 'holds no run', without('run/config.gin')),
    *(Case(*REPORT, 'results.jsonl', written('results.jsonl', content)) for content in (
        '{', '[]\n', '{"model": 3}\n', b'\xff')),
    Case('report', ('{dir}/run', '--out={dir}/file'), 'file', written('file', '')),
    Case('report', ('{dir}/run', '--out={dir}/file/x'), 'file', written('file', '')),
    Case('report', ('{dir}/run', '--out=/proc/report'), '/proc/report'),
    # Figures and sweeps.
    Case(*FIGURES, 'out', written('out', 'a file')),
    Case('figure', (FIGURE, '--out=/proc/figure', '--preset=smoke'), '/proc/figure'),
    Case(*FIGURES, 'another configuration', written('out/config.gin', 'a = 3\n')),
    Case(*FIGURES, 'another configuration', written('out/config.gin', b'\xff\xfe')),
    Case(*FIGURES, 'out/config.gin', folder_for('out/config.gin')),
    Case(*FIGURES, 'out/cells', written('out/cells', 'a file')),
    *(Case(*FIGURES, 'remove it', both(*(written(f'out/cells/{name}.jsonl', content) for name in (
        '-'.join(map(str, cell.values())) for cell in theory_cells('smoke')))), starts=True)
      for content in ('{', b'\xff', '3\n')),
    Case(*SWEEPS, 'out', written('out', 'a file')),
    Case('sweep', (SWEEP, '--out=/proc/sweep'), '/proc/sweep'),
    Case(*SWEEPS, 'another sweep is at work', locked('out/sweep.lock')),
    Case(*SWEEPS, 'results.jsonl', written('out/results.jsonl', '{')),
    Case(*SWEEPS, 'results.jsonl', written('out/results.jsonl', '[]\n')),
    Case(*SWEEPS, 'results.jsonl', folder_for('out/results.jsonl')),
    Case(*SWEEPS, 'out/runs', written('out/runs', 'a file')),
]
CASES = FLAGS + BINDINGS + FOLDERS


def change(folder, old, new):
  config = folder / 'run/config.gin'
  assert old in config.read_text()
  config.write_text(config.read_text().replace(old, new))


@gin.configurable
def not_a_number() -> float:
  """NaN, for which gin has no word."""
  return float('nan')


pytestmark = pytest.mark.usefixtures('fresh_gin')


@pytest.fixture(scope='module', name='finished')
def _finished(tmp_path_factory):
  gin.clear_config()
  folder = tmp_path_factory.mktemp('finished') / 'run'
  with contextlib.chdir(REPOSITORY):
    launch_main.run(launch_main.Configuration(['gin/myriad_cem.gin'], SMALL), str(folder))
  return folder


def run(case, arguments, monkeypatch, capsys):
  """The exit code and stderr of a command in this process, which then forgets its flags."""
  capsys.readouterr()
  monkeypatch.setattr(sys, 'argv', [f'launch.{case.command}', *arguments])
  try:
    with pytest.raises(SystemExit) as ended:
      importlib.import_module(f'launch.{case.command}').entry_point()
  finally:
    for name in list(flags.FLAGS):
      if flags.FLAGS.find_module_defining_flag(name, '').startswith('launch'):
        delattr(flags.FLAGS, name)
    logging.getLogger('asm_tf').handlers.clear()
  return ended.value.code, capsys.readouterr().err


def run_alone(case, arguments):
  done = subprocess.run([sys.executable, '-m', f'launch.{case.command}', *arguments],
                        cwd=REPOSITORY, capture_output=True, text=True, check=False)
  return done.returncode, done.stderr


def digests(folder):
  """{path: what is there} of everything in a folder."""
  def digest(path):
    if path.is_symlink():
      return str(path.readlink())
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else 'folder'
  return {path: digest(path) for path in sorted(folder.rglob('*'))}


@pytest.mark.parametrize('case', CASES, ids=str)
def test_a_bad_input_is_one_line_and_loses_nothing(
    case, finished, tmp_path, monkeypatch, capsys):
  arguments = [argument.replace('{dir}', str(tmp_path)) for argument in case.arguments]
  if case in FOLDERS or any('{dir}/run' in argument for argument in case.arguments):
    shutil.copytree(finished, tmp_path / 'run')
  kept = case.prepare(tmp_path)
  for name, value in case.environment.items():
    monkeypatch.setenv(name, value)
  before = digests(tmp_path)
  code, error = run_alone(case, arguments) if case.alone else run(
      case, arguments, monkeypatch, capsys)
  del kept
  if case.starts:  # a bar, which is drawn over, and what of `SMALL` the run has no use for
    error = ''.join(line for line in error.splitlines(keepends=True)
                    if line.strip() and '/s]' not in line and line not in UNREAD)
  assert code == 2, error
  assert error.startswith('error: ')
  assert error.count('\n') == 1, error
  assert case.cause in (error.lower() if case.cause.islower() else error)
  after = digests(tmp_path)
  assert {path: digest for path, digest in after.items() if path in before} == before
  assert case.starts or tmp_path / 'new' in before or not (tmp_path / 'new').exists()


# Any value of any number.


class Built(Exception):
  """Ends `train` before it trains."""


def numeric_bindings():
  """(gin file, name) of every binding of the shipped files whose value is a number or sizes."""
  found = {}
  with contextlib.chdir(REPOSITORY):
    for file in sorted((REPOSITORY / 'gin').glob('*.gin')):
      gin.clear_config()
      command_line.parse_gin([str(file)], [])
      for (scope, selector), values in gin.config._CONFIG.items():
        for parameter, value in values.items():
          if isinstance(value, (int, float, tuple)) and not isinstance(value, bool):
            name = scope or f'{selector.split(".")[-1]}.{parameter}'
            found.setdefault(name, file)
  gin.clear_config()
  return sorted((str(file), name) for name, file in found.items())


# Sizes that a machine could just about hold would be made.
NUMBER = st.one_of(
    st.integers(-9, 9), st.sampled_from([10**18, 10**30, -10**30, 10**400]), st.floats(),
    st.sampled_from([float('nan'), float('inf'), -float('inf'), 0.0, -0.0, 1e308, 5e-324]))
VALUE = st.one_of(NUMBER, NUMBER, st.none(), st.booleans(), st.text(max_size=9),
                  st.lists(st.one_of(NUMBER, st.none(), st.text(max_size=3)), max_size=3))


def literal(value):
  """A value as gin reads it."""
  if isinstance(value, list):
    return f'[{", ".join(map(literal, value))}]'
  if isinstance(value, float) and value != value:
    return '@not_a_number()'
  return repr(value).replace('inf', '1e999') if isinstance(value, float) else repr(value)


@settings(max_examples=150, derandomize=True, deadline=None, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(where=st.sampled_from(numeric_bindings()), value=VALUE)
def test_any_value_of_a_number_is_built_with_or_refused_in_a_line(where, value, fresh_gin):
  file, name = where
  horizon = ['HORIZON=20'] if 'odt' in file else []  # of which an optimum is stored
  gin.clear_config()

  def built(*_):
    raise Built

  with pytest.MonkeyPatch.context() as patch, pytest.raises((Built, UserError)) as raised:
    patch.setattr(train_module, '_train', built)
    with tempfile.TemporaryDirectory() as folder:
      bindings = [*SMALL, *horizon, f'{name}={literal(value)}']
      launch_main.run(launch_main.Configuration([file], bindings), f'{folder}/run')
  if raised.type is UserError:
    assert '\n' not in raised.value.message
    assert not raised.value.message.isspace()
