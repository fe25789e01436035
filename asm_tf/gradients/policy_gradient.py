"""The open-loop policy gradient through a world model (paper, Definition 2).

    J(theta) = sum_t r(s_t, a_t, t),   a_t = pi_theta(stop(s_t), eps_t),   s_{1:H} = g(s_0, a)

The policy's inputs carry no gradient, so two passes suffice: one roll-out without a tape
gives the states; then all actions are recomputed at once, and the model is differentiated
once over the whole sequence, in parallel in time where its architecture allows, from the
residuals of the roll-out where it is recurrent.

The closed-loop weight w interpolates to the closed loop (Appendix B):
a_t = pi_theta(w s_t + (1 - w) stop(s_t), eps_t) has the same value for every w, and a
gradient that flows back through the policy's inputs in proportion to w. It needs the tape
through the sequential roll-out.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from asm_tf.models.sequence_model import SequenceModel
from asm_tf.policies.squashed_gaussian import squash, squashed_entropy

# (states [B, H, n], actions [B, H, m], t [H]) -> rewards [B, H]
Reward = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class Actor(Protocol):
  """A squashed Gaussian policy: (states [..., n], t) -> mu, log sigma, both [..., m]."""

  trainable_variables: Sequence[tf.Variable]

  def __call__(self, state: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]: ...


class Imagined(NamedTuple):
  """What a policy gradient was estimated from, and the gradient.

  Attributes:
    returns: [B], imagined.
    entropy: mean per step, in nats.
    gradients: of the objective, to ascend, one per trainable variable of the actor.
  """

  returns: tf.Tensor
  entropy: tf.Tensor
  gradients: list[tf.Tensor]


def roll_out(model: SequenceModel, actor: Actor, initial_state: tf.Tensor, noise: tf.Tensor,
             closed_loop_weight: float = 1.0) -> tf.Tensor:
  """Returns the states that a policy visits in a world model.

  Args:
    model: `SequenceModel`.
    actor: `SquashedGaussianActor`.
    initial_state: [B, n].
    noise: [B, H, m] standard normal draws.
    closed_loop_weight: share of the gradient that flows back through the policy's inputs, 0 to 1.

  Returns:
    [B, H, n], s_0 .. s_{H-1}, which the policy sees; differentiable.
  """
  predicted = model.unroll(initial_state, noise.shape[1], _acting(actor, noise, closed_loop_weight))
  return _visited(initial_state, predicted)


def open_loop_policy_gradient(model: SequenceModel, reward: Reward, actor: Actor,
                              initial_state: tf.Tensor, noise: tf.Tensor,
                              return_scale: tf.Tensor | float = 1.0,
                              entropy_constant: tf.Tensor | float = 0.0) -> Imagined:
  """Gradient of the mean imagined return and entropy bonus, by two passes.

  The objective is E[J] / return_scale + entropy_constant E[sum_t H(pi(s_t, t))].

  Args:
    model: `SequenceModel`.
    reward: function (states [B, H, n], actions [B, H, m], t [H]) -> [B, H].
    actor: `SquashedGaussianActor`, whose trainable variables are theta.
    initial_state: [B, n].
    noise: [B, H, m] standard normal draws, fixed for both passes.
    return_scale: positive scalar, the unit of the returns.
    entropy_constant: weight of the policy's entropy at each step.

  Returns:
    `Imagined`.

  Raises:
    ValueError: if the return does not depend on the actions, or the actions on a variable.
  """
  # The open loop: the states that the policy sees are constants (Appendix B).
  predicted, residuals = tf.nest.map_structure(tf.stop_gradient, model.unroll_with_residuals(
      initial_state, noise.shape[1], _acting(actor, noise)))
  states = _visited(initial_state, predicted)
  variables = actor.trainable_variables
  with tf.GradientTape() as policy_tape:
    mean, log_std = actor(states, tf.range(noise.shape[1]))
    actions = squash(mean, log_std, noise)
    entropy = tf.reduce_mean(squashed_entropy(mean, log_std, noise))  # of a step
  with tf.GradientTape() as model_tape:
    model_tape.watch(actions)
    predicted = model.call_with_residuals(initial_state, actions, residuals)
    returns = returns_of(reward, initial_state, predicted, actions)
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


def sequential_policy_gradient(model: SequenceModel, reward: Reward, actor: Actor,
                               initial_state: tf.Tensor, noise: tf.Tensor,
                               return_scale: tf.Tensor | float = 1.0,
                               entropy_constant: tf.Tensor | float = 0.0,
                               closed_loop_weight: float = 0.0) -> Imagined:
  """Gradient by a tape through the sequential roll-out, from open loop to closed loop.

  With a closed-loop weight of 0 it equals `open_loop_policy_gradient`, at a multiple of its
  cost; with 1 it is the total derivative of the objective.

  Args:
    model: see `open_loop_policy_gradient`, as all arguments but the last.
    reward: function.
    actor: the policy.
    initial_state: [B, n].
    noise: [B, H, m].
    return_scale: positive scalar.
    entropy_constant: weight of the entropy.
    closed_loop_weight: share of the gradient that flows back through the policy's inputs, 0 to 1.

  Returns:
    `Imagined`.
  """
  horizon, variables = noise.shape[1], actor.trainable_variables
  with tf.GradientTape() as tape:
    visited = roll_out(model, actor, initial_state, noise, closed_loop_weight)
    mean, log_std = actor(_attenuate(visited, closed_loop_weight), tf.range(horizon))
    actions = squash(mean, log_std, noise)
    entropy = tf.reduce_mean(squashed_entropy(mean, log_std, noise))  # of a step
    returns = _returns(reward, visited, actions)
    objective = tf.reduce_mean(returns) / return_scale + entropy_constant * horizon * entropy
  gradients = tape.gradient(objective, variables)
  _require_paths(variables, gradients)
  return Imagined(returns, entropy, gradients)


def predicted_returns(model: SequenceModel, reward: Reward, initial_state: tf.Tensor,
                      actions: tf.Tensor) -> tf.Tensor:
  """Predicts the returns [B] of actions [B, H, m] from initial states [B, n]."""
  return returns_of(reward, initial_state, model(initial_state, actions), actions)


def returns_of(reward: Reward, initial_state: tf.Tensor, predicted: tf.Tensor,
               actions: tf.Tensor) -> tf.Tensor:
  """Computes the returns [B] of predicted states s_1 .. s_H, [B, H, n], and actions [B, H, m]."""
  return _returns(reward, _visited(initial_state, predicted), actions)


def _acting(actor, noise, closed_loop_weight=1.0):
  """The function (s_t [B, n], t) -> a_t [B, m] of a policy with noise [B, H, m]."""
  noise = tf.transpose(noise, [1, 0, 2])
  return lambda state, t: squash(*actor(_attenuate(state, closed_loop_weight), t), noise[t])


def _visited(initial_state, predicted):
  """s_0 .. s_{H-1}, [B, H, n], of s_0 and s_1 .. s_H."""
  return tf.concat([initial_state[:, None], predicted[:, :-1]], 1)


def _attenuate(state, weight):
  """The state itself, with its gradient times `weight`."""
  return weight * state + (1 - weight) * tf.stop_gradient(state)


def _returns(reward, visited, actions):
  """[B] from states s_0 .. s_{H-1} and actions."""
  rewards = reward(visited, actions, tf.range(actions.shape[1]))
  if rewards.shape != actions.shape[:2]:
    raise ValueError(f'rewards have shape {rewards.shape}, expected [B, H] = {actions.shape[:2]}.')
  return tf.reduce_sum(rewards, 1)


def _require_paths(variables, gradients):
  for variable, gradient in zip(variables, gradients, strict=True):
    if gradient is None:
      raise ValueError(f'the return does not depend on the policy variable {variable.name}.')
