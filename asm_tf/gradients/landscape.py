"""The return along one action: what gradient ascent sees (paper, Figures 3c and 5c).

    v -> J(a_0, .., a_step[component] = v, .., a_{H-1}),   J = sum_t r(s_t, a_t, t)
"""

import tensorflow as tf

from asm_tf.gradients.policy_gradient import Reward, predicted_returns
from asm_tf.models.sequence_model import SequenceModel


def return_landscape(model: SequenceModel, reward: Reward, initial_state: tf.Tensor,
                     actions: tf.Tensor, values: tf.Tensor, step: int = 0,
                     component: int = 0) -> tf.Tensor:
  """Predicted returns as one component of one action sweeps over values.

  Args:
    model: `SequenceModel`; `TrueDynamics` gives the true landscape.
    reward: function (states [V, H, n], actions [V, H, m], t [H]) -> [V, H].
    initial_state: [1, n], s_0.
    actions: [1, H, m], the actions that are held.
    values: [V], of the component in turn.
    step: which action is swept, 0 to H-1.
    component: which of its components, 0 to m-1.

  Returns:
    [V], differentiable in initial_state, actions and values.

  Raises:
    ValueError: if there is no such step or component.
  """
  _, horizon, action_size = actions.shape
  if not (0 <= step < horizon and 0 <= component < action_size):
    raise ValueError(f'no component {component} of action {step}: there are {action_size} '
                     f'of each of {horizon} actions.')
  swept = tf.one_hot(step * action_size + component, horizon * action_size, True, False)
  actions = tf.where(tf.reshape(swept, [horizon, action_size]), values[:, None, None], actions)
  initial_state = tf.repeat(initial_state, values.shape[0], 0)
  return predicted_returns(model, reward, initial_state, actions)
