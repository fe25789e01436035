"""Policies and world models live on in a process that knows TensorFlow alone."""

import logging
import os
import re
import shlex
import subprocess
import sys
import types

import gin
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.tools import saved_model_cli  # the command, without a process of its own

from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.myriad.hiv_treatment import HIVTreatment
from asm_tf.training import train as train_module
from asm_tf.training.saved_models import save_world_model
from launch import main as launch_main
from tests.support import small_models
from tests.support.paths import REPOSITORY
from tests.support.small_models import H, M, N, every_model

GUIDE = (REPOSITORY / 'docs/export.md').read_text()
SMALL = ('NUM_ENV_STEPS=200', 'Trainer.warmup_steps=100', 'Trainer.batch_size=4',
         'Execution.jit_compile=False', 'Execution.microbatches=1',
         'LSTM.hidden_sizes=(8, 8)', 'TrainingLoop.eval_interval=200')


def export(model, reward, path, state_size=N, action_size=M):
  agent = small_models.agent_with(model, reward)
  system = types.SimpleNamespace(horizon=H, state_size=state_size, action_size=action_size)
  save_world_model(agent, system, path)
  return tf.saved_model.load(str(path))


def value_and_gradients(predict, *arguments):
  """Predictions, and the gradient of a function of them by each argument."""
  with tf.GradientTape() as tape:
    tape.watch(arguments)
    predicted = predict(*arguments)
    objective = tf.reduce_sum(tf.sin(predicted))
  return [predicted, *tape.gradient(objective, arguments)]


def assert_equal(found, expected, tolerance=1e-12):
  for ours, theirs in zip(found, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@every_model
def test_an_exported_model_predicts_and_differentiates_as_the_live_one(make, tmp_path, caplog):
  model, _, generator = small_models.build(make)
  with caplog.at_level(logging.WARNING):
    world = export(model, small_models.reward, tmp_path)
  assert not caplog.text  # TensorFlow warns of a gradient that is not saved
  for batch, steps in ((2, H), (5, H), (3, 2), (1, 1)):
    initial_state, actions, _ = small_models.inputs(generator, batch, steps)
    found = value_and_gradients(world.predict, initial_state, actions)
    assert found[0].shape == (batch, steps, N)
    assert np.all(np.abs(found[2]).max((0, 2)) > 0)
    assert_equal(found, value_and_gradients(model, initial_state, actions))
    states, t = model(initial_state, actions), tf.range(1, steps + 1)
    assert_equal(value_and_gradients(lambda *x, t=t: world.reward(*x, t), states, actions),
                 value_and_gradients(lambda *x, t=t: small_models.reward(*x, t), states, actions))


def test_the_custom_gradients_are_the_ones_that_are_saved(tmp_path):
  """Plain differentiation of the loaded loops would give the same numbers, for longer."""
  model, *_ = small_models.build(small_models.lstm)
  world = export(model, small_models.reward, tmp_path)

  @tf.function
  def gradient(actions):
    return value_and_gradients(world.predict, tf.zeros([2, N], tf.float64), actions)

  graph = gradient.get_concrete_function(tf.zeros([2, H, M], tf.float64)).graph.as_graph_def()
  names = {node.name for function in graph.library.function for node in function.node_def}
  assert any('IdentityN_grad' in name for name in names)
  assert not any('while_grad' in name for name in names)


def test_the_true_dynamics_are_exported_too(tmp_path):
  system = HIVTreatment(H, dtype=tf.float64)
  model = TrueDynamics(system)
  world = export(model, system.reward, tmp_path, system.state_size, system.action_size)
  generator = np.random.default_rng(0)
  actions = tf.constant(generator.uniform(-0.9, -0.5, (2, H, 1)))
  start = system.initial_state(2)
  assert_equal(value_and_gradients(world.predict, start, actions),
               value_and_gradients(model, start, actions))
  states = tf.concat([start[:, None], model(start, actions)[:, :-1]], 1)
  assert_equal([world.reward(states=states, actions=actions, t=tf.range(H))],
               [system.reward(states, actions, tf.range(H))])


def test_more_steps_than_the_horizon_are_refused(tmp_path):
  model, *_ = small_models.build(small_models.markov)
  world = export(model, small_models.reward, tmp_path)
  with pytest.raises(tf.errors.InvalidArgumentError, match=f'at most {H} steps'):
    world.predict(tf.zeros([1, N], tf.float64), tf.zeros([1, H + 1, M], tf.float64))


def test_a_model_that_cannot_be_exported_costs_no_run(tmp_path, caplog):
  class NeedsKnownBatch(small_models.Linear):
    def call(self, initial_state, actions, training=False):
      raise ValueError('needs a known batch')

  agent = small_models.agent_with(NeedsKnownBatch(np.eye(N), np.eye(N)), small_models.reward)
  save_world_model(agent, types.SimpleNamespace(horizon=H, state_size=N, action_size=M),
                   tmp_path / 'world_model')
  assert f'{tmp_path}/world_model is not written' in caplog.text
  assert 'needs a known batch' in caplog.text
  save_world_model(types.SimpleNamespace(), None, tmp_path / 'none')  # such as SAC
  assert not list(tmp_path.iterdir())


# In a process of its own, after the guide's commands.

BARE = """
import sys
import numpy as np
for module in ('asm_tf', 'tf_agents', 'tf_keras'):
  assert module not in sys.modules, module
given = np.load(sys.argv[1])
start, actions = tf.constant(given['start']), tf.constant(given['actions'])
with tf.GradientTape() as tape:
  tape.watch(actions)
  predicted = world.predict(start, actions)
  rewards = world.reward(predicted, actions, tf.range(actions.shape[1]))
  objective = tf.reduce_sum(rewards)
steps = TimeStep(
    tf.ones([2], tf.int32), tf.zeros([2]), tf.ones([2]), tf.constant(given['observation']))
np.savez(sys.argv[2], predicted=predicted, rewards=rewards,
         gradient=tape.gradient(objective, actions), action=policy.action(steps).action,
         by_signature=world.signatures['predict'](initial_state=start, actions=actions)['states'])
"""


@pytest.fixture(scope='module')
def guides_run(tmp_path_factory):
  """The run of the guide's command, small, and its agent."""
  words = shlex.split(GUIDE.split('```')[1].replace('\\\n', ''))
  assert words[:3] == ['python', '-m', 'launch.main']
  values = [word.split('=', 1) for word in words[3:]]
  root_dir = tmp_path_factory.mktemp('guide') / 'run'
  assert ['--root_dir', 'runs/export'] in values
  agents = []
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(REPOSITORY)
    patch.setattr(train_module, 'save_world_model', lambda agent, *rest: (
        agents.append(agent), save_world_model(agent, *rest)))
    files = [value for flag, value in values if flag == '--gin_file']
    launch_main.run(launch_main.Configuration(files, SMALL), str(root_dir))
  gin.clear_config()
  return root_dir, agents[0]


def test_the_guide_works_in_a_process_with_tensorflow_alone(guides_run, tmp_path):
  root_dir, agent = guides_run
  generator = np.random.default_rng(0)
  given = {'start': generator.uniform(0.5, 1, (3, 1)).astype(np.float32),
           'actions': generator.uniform(-1, 1, (3, 7, 1)).astype(np.float32),
           'observation': generator.uniform(0, 1, (2, 2)).astype(np.float32)}
  np.savez(tmp_path / 'given.npz', **given)
  code, = re.findall(r'```python\n(.*?)```', GUIDE, re.DOTALL)
  (tmp_path / 'bare.py').write_text(code.replace('runs/export', str(root_dir)) + BARE)
  done = subprocess.run(
      [sys.executable, 'bare.py', 'given.npz', 'found.npz'], cwd=tmp_path, text=True,
      capture_output=True, check=False, timeout=200,
      env={name: value for name, value in os.environ.items()
           if name not in ('PYTHONPATH', 'TF_USE_LEGACY_KERAS')})
  assert done.returncode == 0, done.stderr
  totals = re.fullmatch(r'policy: (.*), planned: (.*)\n', done.stdout)
  assert float(totals[2]) > float(totals[1])  # the policy has hardly learned

  start, actions = tf.constant(given['start']), tf.constant(given['actions'])
  with tf.GradientTape() as tape:
    tape.watch(actions)
    predicted = agent.world.model(start, actions)
    rewards = agent.world.reward(predicted, actions, tf.range(7))
    objective = tf.reduce_sum(rewards)
  expected = {'predicted': predicted, 'rewards': rewards, 'by_signature': predicted,
              'gradient': tape.gradient(objective, actions),
              'action': tf.tanh(agent.policy_learner.average_actor(
                  given['observation'][:, :1], given['observation'][:, 1])[0])}
  found = np.load(tmp_path / 'found.npz')
  assert np.all(np.abs(found['gradient']) > 0)
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_guides_signature_is_there(guides_run, monkeypatch, capsys):
  command, = (block for block in GUIDE.split('```') if block.startswith('\nsaved_model_cli'))
  words = [word.replace('runs/export', str(guides_run[0])) for word in command.split()]
  monkeypatch.setattr(sys, 'argv', words)
  with pytest.raises(SystemExit) as ended:
    saved_model_cli.main()
  assert not ended.value.code
  shown = capsys.readouterr().out
  assert "outputs['states']" in shown
  assert "inputs['actions']" in shown
