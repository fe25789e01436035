"""A policy that is told which return to reach."""

import tensorflow as tf
from tf_agents.policies import tf_policy
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts

from asm_tf.models.decision_transformer import DecisionTransformer
from asm_tf.policies.acting_step import acting_step
from asm_tf.policies.returns_to_go import ReturnsToGo
from asm_tf.policies.squashed_gaussian import squash


class ReturnConditionedPolicy(tf_policy.TFPolicy):
  """Acts by a `DecisionTransformer`; the last K steps are its policy state."""

  def __init__(self, time_step_spec: ts.TimeStep, action_spec: tf.TypeSpec,
               model: DecisionTransformer, returns: ReturnsToGo,
               generator: tf.random.Generator | None = None):
    """Builds the policy.

    Args:
      time_step_spec: TF-Agents time-step spec with observations [n+1].
      action_spec: TF-Agents action spec, [m] in [-1, 1].
      model: `DecisionTransformer`.
      returns: the return to reach, and the units of returns-to-go.
      generator: tf.random.Generator for exploration; None acts greedily, by tanh(mu).
    """
    self._model, self._generator = model, generator
    self._returns = returns
    steps, n, m = model.context_size, model.state_size, model.action_size
    super().__init__(time_step_spec, action_spec, clip=False, policy_state_spec={
        'returns_to_go': tf.TensorSpec([steps]), 'states': tf.TensorSpec([steps, n]),
        'actions': tf.TensorSpec([steps, m]), 't': tf.TensorSpec([steps], tf.int32)})

  def _variables(self):
    return [*self._model.variables, *self._returns.variables]

  def _action(self, time_step, policy_state, seed):
    window = self._with_present(time_step, policy_state)
    steps = self._model.context_size
    row = tf.minimum(window['t'][:, -1], steps - 1)  # of the present step of each copy
    # Steps before the episode are rolled behind the present one, where nothing sees them.
    rows = (tf.range(steps) - row[:, None] - 1) % steps
    rolled = {name: tf.gather(part, rows, batch_dims=1) for name, part in window.items()}
    mean, log_std = (tf.gather(moment, row, batch_dims=1) for moment in self._model(
        self._returns.normalize(rolled['returns_to_go'], rolled['t']), rolled['states'],
        rolled['actions'], rolled['t']))
    noise = tf.zeros_like(mean)
    if self._generator is not None:
      noise = self._generator.normal(tf.shape(mean))
    action = squash(mean, log_std, noise)
    window['actions'] = tf.concat([window['actions'][:, :-1], action[:, None]], 1)
    return policy_step.PolicyStep(action, window)

  def _with_present(self, time_step, policy_state):
    """The window moved on by a step, its last row the present one with its action still 0."""
    observation = time_step.observation
    to_go = policy_state['returns_to_go'][:, -1] - time_step.reward
    to_go = tf.where(time_step.is_first(), self._returns.target, to_go)
    action = tf.zeros_like(policy_state['actions'][:, 0])
    t = acting_step(observation[:, -1], self._model.normalizer.horizon)
    present = {'returns_to_go': to_go, 'states': observation[:, :-1], 'actions': action, 't': t}
    return {name: tf.concat([policy_state[name][:, 1:], part[:, None]], 1)
            for name, part in present.items()}
