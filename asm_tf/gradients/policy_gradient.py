"""The open-loop policy gradient through a world model (paper, Definition 2).

    J(theta) = sum_t r(s_t, a_t, t),   a_t = pi_theta(stop(s_t), eps_t),   s_{1:H} = g(s_0, a)

The policy's inputs carry no gradient, so two passes suffice: one roll-out
without a tape gives the states; then all actions are recomputed at once and the
model is differentiated once, over the whole sequence, in parallel in time where
its architecture allows, from what it kept of its steps where it is recurrent.
`feedback` dials from there to the closed loop (Appendix B):
a_t = pi_theta(feedback s_t + (1 - feedback) stop(s_t), eps_t) has the same value at
every setting and reaches back through the policy's inputs in proportion. It needs
the tape through the sequential roll-out.
"""

import collections

import tensorflow as tf

from asm_tf.policies.squashed_gaussian import squash, squashed_entropy

Imagined = collections.namedtuple('Imagined', 'returns entropy gradients')


def roll_out(model, actor, initial_state, noise, feedback=1.0):
  """States that a policy visits in a world model.

  Args:
    model: `SequenceModel`.
    actor: `SquashedGaussianActor`.
    initial_state: [B, n].
    noise: [B, H, m] standard normal draws.
    feedback: how much of the gradient goes back through the policy's inputs, 0 to 1.

  Returns:
    [B, H, n], s_0 .. s_{H-1}: what the policy sees; differentiable.
  """
  predicted = model.unroll(initial_state, noise.shape[1], _acting(actor, noise, feedback))
  return _visited(initial_state, predicted)


def open_loop_policy_gradient(model, reward, actor, initial_state, noise,
                              return_scale=1.0, entropy_constant=0.0):
  """Gradient of the mean imagined return and entropy bonus, by two passes.

  The objective is E[J] / return_scale + entropy_constant E[sum_t H(pi(s_t, t))].

  Args:
    model: `SequenceModel`.
    reward: function (states [B, H, n], actions [B, H, m], t [H]) -> [B, H].
    actor: `SquashedGaussianActor`, whose trainable variables are theta.
    initial_state: [B, n].
    noise: [B, H, m] standard normal draws, fixed for both passes.
    return_scale: positive scalar, the unit in which returns are counted.
    entropy_constant: weight of the policy's entropy at each step.

  Returns:
    `Imagined`: returns [B], mean entropy per step (nats), and the gradients of
    the objective (to ascend), one a trainable variable of the actor.

  Raises:
    ValueError: if the return does not depend on the actions, or they on a variable.
  """
  # The open loop: the states that the policy sees are constants (Appendix B).
  predicted, kept = tf.nest.map_structure(tf.stop_gradient, model.unroll_keeping(
      initial_state, noise.shape[1], _acting(actor, noise)))
  states = _visited(initial_state, predicted)
  variables = actor.trainable_variables
  with tf.GradientTape() as policy_tape:
    mean, log_std = actor(states, tf.range(noise.shape[1]))
    actions = squash(mean, log_std, noise)
    entropy = tf.reduce_mean(squashed_entropy(mean, log_std, noise))  # of a step
  with tf.GradientTape() as model_tape:
    model_tape.watch(actions)
    predicted = model.call_again(initial_state, actions, kept)
    returns = _returns(reward, _visited(initial_state, predicted), actions)
    objective = tf.reduce_mean(returns) / return_scale
  action_gradient = model_tape.gradient(objective, actions)  # [B, H, m]
  if action_gradient is None:
    raise ValueError('the return does not depend on the actions.')
  gradients = policy_tape.gradient(
      [actions, entropy], variables,
      output_gradients=[action_gradient, tf.convert_to_tensor(
          entropy_constant * noise.shape[1], noise.dtype)])
  _require_paths(variables, gradients)
  return Imagined(returns, entropy, gradients)


def sequential_policy_gradient(model, reward, actor, initial_state, noise, return_scale=1.0,
                               entropy_constant=0.0, feedback=0.0):
  """The gradient by a tape through the sequential roll-out, open loop to closed loop.

  With feedback = 0 it equals `open_loop_policy_gradient`, at a multiple of its cost;
  with feedback = 1 it is the total derivative of the objective.

  Args:
    model: see `open_loop_policy_gradient`, as all arguments but the last.
    reward: function.
    actor: the policy.
    initial_state: [B, n].
    noise: [B, H, m].
    return_scale: positive scalar.
    entropy_constant: weight of the entropy.
    feedback: how much of the gradient goes back through the policy's inputs, 0 to 1.

  Returns:
    `Imagined`.
  """
  horizon, variables = noise.shape[1], actor.trainable_variables
  with tf.GradientTape() as tape:
    visited = roll_out(model, actor, initial_state, noise, feedback)
    mean, log_std = actor(_dial(visited, feedback), tf.range(horizon))
    actions = squash(mean, log_std, noise)
    entropy = tf.reduce_mean(squashed_entropy(mean, log_std, noise))  # of a step
    returns = _returns(reward, visited, actions)
    objective = tf.reduce_mean(returns) / return_scale + entropy_constant * horizon * entropy
  gradients = tape.gradient(objective, variables)
  _require_paths(variables, gradients)
  return Imagined(returns, entropy, gradients)


def predicted_returns(model, reward, initial_state, actions):
  """Returns [B] of actions [B, H, m] from initial states [B, n], as a model predicts them."""
  predicted = model(initial_state, actions)
  return _returns(reward, _visited(initial_state, predicted), actions)


def _acting(actor, noise, feedback=1.0):
  """The function (s_t [B, n], t) -> a_t [B, m] of a policy with noise [B, H, m]."""
  noise = tf.transpose(noise, [1, 0, 2])
  return lambda state, t: squash(*actor(_dial(state, feedback), t), noise[t])


def _visited(initial_state, predicted):
  """s_0 .. s_{H-1}, [B, H, n], of s_0 and s_1 .. s_H."""
  return tf.concat([initial_state[:, None], predicted[:, :-1]], 1)


def _dial(state, feedback):
  """The state itself, of whose gradient the share `feedback` goes on."""
  return feedback * state + (1 - feedback) * tf.stop_gradient(state)


def _returns(reward, visited, actions):
  """[B] from states s_0 .. s_{H-1} and actions."""
  rewards = reward(visited, actions, tf.range(actions.shape[1]))
  if rewards.shape != actions.shape[:2]:
    raise ValueError(f'rewards have shape {rewards.shape}, expected [B, H] = {actions.shape[:2]}.')
  return tf.reduce_sum(rewards, 1)


def _require_paths(variables, gradients):
  for variable, gradient in zip(variables, gradients):
    if gradient is None:
      raise ValueError(f'the return does not depend on the policy variable {variable.name}.')
