"""Jacobians of a world model with respect to the actions, and what they bound.

    G[t, k] = d s_{t+1} / d a_k,   s_{1:T} = g(s_0, a_{0:T-1}),   G[t, k] = 0 for k > t

|.| is the spectral norm. For a reward r(s) with Lipschitz constant L_r and a policy with
|d pi_theta / d theta| <= L_pi, Theorem 1 of the paper bounds the open-loop policy gradient:

    |grad J| <= L_r L_pi sum_{t=1}^{H-1} sum_{k=0}^{t-1} |d s_t / d a_k|

(the paper counts from 1). Jacobians of long horizons explode; the logarithms do not.
"""

from collections.abc import Sequence

import tensorflow as tf

from asm_tf.gradients.comparison import log_norm
from asm_tf.gradients.policy_gradient import Actor, Reward, open_loop_policy_gradient
from asm_tf.models.sequence_model import SequenceModel


def action_jacobians(model: SequenceModel, initial_state: tf.Tensor, actions: tf.Tensor,
                     steps_at_once: int = 16) -> tf.Tensor:
  """Jacobians of every predicted state with respect to every action.

  Each component of a prediction gets its own copy of the trajectory in the batch, so
  that one backward pass serves them all, whatever loops the model is made of.

  Args:
    model: `SequenceModel`; its `call` is differentiated.
    initial_state: [B, n], s_0.
    actions: [B, T, m].
    steps_at_once: predicted steps, of n components each, that share a backward pass:
      memory against speed.

  Returns:
    [B, T, T, n, m]; entry [b, t, k] is d s_{t+1} / d a_k, 0 where k > t.
  """
  batch, horizon, action_size = actions.shape
  state_size = initial_state.shape[-1]
  dtype = initial_state.dtype
  steps_at_once = min(steps_at_once, horizon)
  steps = tf.range(-(-horizon // steps_at_once) * steps_at_once)  # the last group filled up
  component = tf.tile(tf.eye(state_size, dtype=dtype), [steps_at_once, 1])  # [copies, n]
  copies = steps_at_once * state_size
  states_of_copies = tf.repeat(initial_state, copies, 0)  # [B copies, n]
  actions_of_copies = tf.repeat(actions, copies, 0)

  def rows(group):
    """[B copies, T, m], gradients of the predictions of a group of steps."""
    step = tf.one_hot(tf.repeat(group, state_size), horizon, dtype=dtype)  # [copies, T]
    chosen = tf.tile(step[:, :, None] * component[:, None], [batch, 1, 1])
    with tf.GradientTape() as tape:
      tape.watch(actions_of_copies)
      predicted = model(states_of_copies, actions_of_copies)
    return tape.gradient(
        predicted, actions_of_copies, chosen, tf.UnconnectedGradients.ZERO)

  jacobians = tf.map_fn(
      rows, tf.reshape(steps, [-1, steps_at_once]), fn_output_signature=dtype)
  jacobians = tf.reshape(
      jacobians, [-1, batch, steps_at_once, state_size, horizon, action_size])
  jacobians = tf.transpose(jacobians, [1, 0, 2, 4, 3, 5])  # [B, groups, steps, T, n, m]
  return tf.reshape(jacobians, [batch, -1, horizon, state_size, action_size])[:, :horizon]


def log_jacobian_norms(model: SequenceModel, initial_state: tf.Tensor,
                       actions: tf.Tensor) -> tf.Tensor:
  """log |d s_{t+1} / d a_0| at any horizon, for a model whose carry is its state.

  The product of one-step Jacobians, d s_{t+1} / d a_0 = (d s_{t+1} / d s_t) (d s_t / d a_0),
  is divided by its largest entry at every step.

  Args:
    model: `SequenceModel`, such as `TrueDynamics`, or `Markov` with no `Normalizer.margin`.
    initial_state: [B, n], s_0.
    actions: [B, T, m].

  Returns:
    [B, T]; -inf where a_0 does not reach the state.

  Raises:
    ValueError: if the model carries more than its state from step to step.
  """
  if not _carries_its_state(model, initial_state, actions[:, 0]):
    raise ValueError(f'{model.name} carries more than its state: use action_jacobians.')
  return _log_norms_of_products(model, initial_state, actions)


def _log_norms_of_products(model, state, actions):
  """As `log_jacobian_norms`, of a model that is known to carry its state."""
  horizon = actions.shape[1]
  actions = tf.transpose(actions, [1, 0, 2])  # [T, B, m]
  state, _, product = _one_step_jacobians(model, state, actions[0], 0)
  product, scale = _rescale(product, tf.zeros_like(state[:, 0]))

  def body(t, state, product, scale, norms):
    norms = norms.write(t - 1, scale + log_norms(product))
    state, by_state, _ = _one_step_jacobians(model, state, actions[t], t)
    return t + 1, state, *_rescale(by_state @ product, scale), norms

  norms = tf.TensorArray(state.dtype, horizon, element_shape=scale.shape)
  _, _, product, scale, norms = tf.while_loop(
      lambda t, *_: t < horizon, body, (1, state, product, scale, norms),
      maximum_iterations=horizon)
  norms = norms.write(horizon - 1, scale + log_norms(product))
  return tf.transpose(norms.stack())


def final_log_norms(model: SequenceModel, initial_state: tf.Tensor,
                    actions: tf.Tensor) -> tf.Tensor:
  """log |d s_T / d a_0|, [B], of any model: Figure 5's measure.

  By the product of one-step Jacobians, which overflows at no horizon, where the model
  carries only its state; elsewhere by one backward pass.

  Args:
    model: `SequenceModel`.
    initial_state: [B, n], s_0.
    actions: [B, T, m].
  """
  if _carries_its_state(model, initial_state, actions[:, 0]):
    return _log_norms_of_products(model, initial_state, actions)[:, -1]
  batch, size = initial_state.shape
  # One copy of each trajectory for each component of its last state.
  first, rest = tf.repeat(actions[:, :1], size, 0), tf.repeat(actions[:, 1:], size, 0)
  with tf.GradientTape() as tape:
    tape.watch(first)
    last = model(tf.repeat(initial_state, size, 0), tf.concat([first, rest], 1))[:, -1]
  component = tf.tile(tf.eye(size, dtype=last.dtype), [batch, 1])
  gradient = tape.gradient(last, first, component)  # [B n, 1, m]
  return log_norms(tf.reshape(gradient, [batch, size, -1]))


def log_norms(jacobians: tf.Tensor) -> tf.Tensor:
  """Natural logarithms [...] of the spectral norms of [..., n, m]; -inf for 0."""
  jacobians, scale = _rescale(jacobians, tf.zeros_like(jacobians[..., 0, 0]))
  return scale + tf.math.log(tf.reduce_max(tf.linalg.svd(jacobians, compute_uv=False), -1))


def log_policy_gradient_bound(norms: tf.Tensor, reward_lipschitz: tf.Tensor | float,
                              policy_lipschitz: tf.Tensor | float) -> tf.Tensor:
  """The logarithm of `policy_gradient_bound`, from logarithms.

  Args:
    norms: [B, H, H], `log_norms` of `action_jacobians` over the whole horizon.
    reward_lipschitz: L_r, a scalar or [B].
    policy_lipschitz: L_pi, a scalar or [B].

  Returns:
    [B].
  """
  # r(s_0) depends on no action, and s_H, the last row, is not rewarded.
  total = tf.reduce_logsumexp(norms[:, :-1], [1, 2])
  constants = (tf.convert_to_tensor(reward_lipschitz, norms.dtype)
               * tf.convert_to_tensor(policy_lipschitz, norms.dtype))
  return tf.math.log(constants) + total


def policy_gradient_bound(jacobians: tf.Tensor, reward_lipschitz: tf.Tensor | float,
                          policy_lipschitz: tf.Tensor | float) -> tf.Tensor:
  """Theorem 1's bound on the norm of the open-loop policy gradient.

  It holds for rewards of the state alone: one that depends on the action too has a
  further term, sum_t (d r / d a_t) (d pi / d theta), that the theorem does not cover.

  Args:
    jacobians: [B, H, H, n, m], `action_jacobians` over the whole horizon.
    reward_lipschitz: L_r, a scalar or [B].
    policy_lipschitz: L_pi, a bound of |d pi_theta(s_k) / d theta| on the trajectory, a
      scalar or [B].

  Returns:
    [B], bounds of each trajectory's gradient; their mean bounds the gradient of the mean.
  """
  return tf.exp(log_policy_gradient_bound(
      log_norms(jacobians), reward_lipschitz, policy_lipschitz))


def log_policy_gradient_norms(model: SequenceModel, reward: Reward, actor: Actor,
                              initial_state: tf.Tensor, noise: tf.Tensor,
                              horizons: Sequence[int]) -> tf.Tensor:
  """How the open-loop policy gradient grows with the horizon.

  Args:
    model: `SequenceModel`, as the next three see `open_loop_policy_gradient`.
    reward: function.
    actor: the policy.
    initial_state: [B, n].
    noise: [B, T, m], of the longest horizon.
    horizons: numbers of steps, up to T.

  Returns:
    log |grad J| at each horizon, [len(horizons)].
  """
  return tf.stack([
      log_norm(open_loop_policy_gradient(
          model, reward, actor, initial_state, noise[:, :horizon]).gradients)
      for horizon in horizons])


def _carries_its_state(model, initial_state, action):
  """Whether a model carries from step to step the very state that it predicts."""
  carry = model.start(initial_state, 1)
  state, following = model.step(carry, action, 0)
  return carry is initial_state and following is state


def _one_step_jacobians(model, state, action, t):
  """s' [B, n], d s' / d s [B, n, n] and d s' / d a [B, n, m] of one step."""
  batch, size = state.shape
  copies = [tf.repeat(x, size, 0) for x in (state, action)]  # one per component of s'
  with tf.GradientTape() as tape:
    tape.watch(copies)
    following, _ = model.step(*copies, t)
  component = tf.tile(tf.eye(size, dtype=state.dtype), [batch, 1])
  by_state, by_action = tape.gradient(
      following, copies, component, tf.UnconnectedGradients.ZERO)
  return (following[::size], tf.reshape(by_state, [batch, size, size]),
          tf.reshape(by_action, [batch, size, -1]))


def _rescale(matrices, log_scale):
  """Matrices [..., n, m] of largest entry 1 (or 0), and log_scale [...] plus what they lost."""
  size = tf.reduce_max(tf.abs(matrices), [-2, -1])
  return tf.math.divide_no_nan(matrices, size[..., None, None]), log_scale + tf.math.log(size)
