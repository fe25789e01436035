"""What a run learned, as SavedModels that need only TensorFlow.

    policy = tf.saved_model.load('<run>/policy')
    policy.action(time_step)               # TF-Agents' PolicySaver

    world = tf.saved_model.load('<run>/world_model')
    world.predict(initial_state, actions)  # s_0 [B, n], a_0 .. [B, T, m] -> s_1 .. s_T
    world.reward(states, actions, t)       # r_t = r(s_t, a_t, t), [B, T]

for any B and any T up to H, in the environment's own units; the world model is
differentiable in actions and states, which is what it is for (docs/export.md). A model of windows
predicts up to k steps, from the start of an episode where it knows the time.
"""

import logging
import pathlib
import warnings

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.policies import policy_saver, tf_policy

from asm_tf.environments.gymnasium_system import GymnasiumSystem
from asm_tf.errors import one_line
from asm_tf.systems.system import System
from asm_tf.training import failed_writes

_LOG = logging.getLogger(__name__)


def save_policy(policy: tf_policy.TFPolicy, path: pathlib.Path) -> None:
  """Writes a policy by TF-Agents' PolicySaver, without its distribution.

  The type of a distribution is TF-Agents' own: a process without TF-Agents could not load it.
  """
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # about types that only TF-Agents knows
    policy_saver.PolicySaver(_ActionsAlone(policy), batch_size=None).save(str(path))


def save_world_model(agent: tf_agent.TFAgent, system: System | GymnasiumSystem,
                     path: pathlib.Path) -> None:
  """Writes the world model of an agent that has one, and its reward.

  A model that cannot be exported is named in a warning, and the run still counts as finished.
  A write that fails, on a full disk for example, is raised: a resume repeats it.

  Args:
    agent: a TFAgent; an `AsmAgent` has a `world`, others have none.
    system: `System` or `GymnasiumSystem`, for its sizes.
    path: folder of the SavedModel.
  """
  if not hasattr(agent, 'world'):
    return
  try:
    has_windows = agent.world.critic is not None
    model = agent.world.model_from(tf.zeros([1], tf.int32) if has_windows else None)
    world = _World(model, agent.world.reward, agent.train_sequence_length - 1, system.state_size,
                   system.action_size)
    tf.saved_model.save(world, str(path), signatures=world.signatures(),
                        options=tf.saved_model.SaveOptions(experimental_custom_gradients=True))
  except Exception as error:  # a user's own model may raise anything
    if failed_writes.is_failed_write(error, path):
      raise
    _LOG.warning('%s is not written, because the world model cannot be saved: %s', path,
                 one_line(error) or type(error).__name__)


class _ActionsAlone(tf_policy.TFPolicy):
  """A policy reduced to its actions, without a distribution."""

  def __init__(self, policy):
    super().__init__(
        policy.time_step_spec, policy.action_spec, policy_state_spec=policy.policy_state_spec,
        info_spec=policy.info_spec, clip=False)
    self._policy = policy

  def _variables(self):
    return self._policy.variables()

  def _get_initial_state(self, batch_size):
    return self._policy.get_initial_state(batch_size)

  def _action(self, time_step, policy_state, seed):
    return self._policy.action(time_step, policy_state, seed)


class _World(tf.Module):
  """The traced functions and their variables.

  The Keras model itself is not part of it: Keras would save every layer as well.
  """

  def __init__(self, model, reward, horizon, state_size, action_size):
    super().__init__(name='world')
    states = tf.TensorSpec([None, None, state_size], model.dtype, 'states')
    actions = tf.TensorSpec([None, None, action_size], model.dtype, 'actions')
    # Concrete functions: saving a `tf.function` would trace it once more.
    self.predict = tf.function(_predict_up_to(horizon, model), autograph=False
                               ).get_concrete_function(
        tf.TensorSpec([None, state_size], model.dtype, 'initial_state'), actions)
    self.reward = tf.function(
        # These names let its arguments be given as keywords too.
        lambda states, actions, t: reward(states, actions, t), autograph=False
    ).get_concrete_function(states, actions, tf.TensorSpec([None], tf.int32, 't'))
    self._held = [*self.predict.variables, *self.reward.variables]

  def signatures(self) -> dict:
    """Returns {name: function} as other runtimes call them."""
    def named(trace, output):
      return tf.function(lambda *arguments: {output: trace(*arguments)}, autograph=False
                         ).get_concrete_function(*trace.structured_input_signature[0])

    return {'predict': named(self.predict, 'states'), 'reward': named(self.reward, 'rewards')}


def _predict_up_to(horizon, model):
  """`model` for any number of steps up to H, in a graph of H steps.

  Not every architecture can be traced for an unknown number. Later actions, zeros here,
  reach no earlier state.
  """
  def predict(initial_state, actions):
    steps = tf.shape(actions)[1]
    with tf.control_dependencies([tf.debugging.assert_less_equal(
        steps, horizon, f'this world model predicts at most {horizon} steps')]):
      padded = tf.pad(actions, [[0, 0], [0, horizon - steps], [0, 0]])
    padded = tf.ensure_shape(padded, [None, horizon, actions.shape[2]])
    return model(initial_state, padded)[:, :steps]

  return predict
