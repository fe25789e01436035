"""A policy read back from a run's `policy/` folder."""

import tensorflow as tf
from tf_agents.policies import tf_policy
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts


class SavedPolicy(tf_policy.TFPolicy):
  """Acts by a SavedModel that TF-Agents' PolicySaver wrote."""

  def __init__(self, time_step_spec: ts.TimeStep, action_spec: tf.TypeSpec, path: str):
    """Loads the policy.

    Args:
      time_step_spec: of the environment to act in.
      action_spec: of the environment to act in.
      path: folder of the SavedModel.
    """
    self._saved = tf.saved_model.load(path)
    state = self._saved.get_initial_state(tf.constant(1))
    # A policy for another environment is told here, not in the middle of an episode.
    self._saved.action(tensor_spec.zero_spec_nest(time_step_spec, outer_dims=[1]), state)
    super().__init__(
        time_step_spec, action_spec, clip=False, policy_state_spec=tf.nest.map_structure(
            lambda part: tf.TensorSpec(part.shape[1:], part.dtype), state))

  def _variables(self):
    return []

  def _action(self, time_step, policy_state, seed):
    step = self._saved.action(time_step, policy_state)
    return policy_step.PolicyStep(step.action, step.state)
