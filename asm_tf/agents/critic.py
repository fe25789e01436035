"""What comes after an imagined window, as SAC's critics estimate it."""

import math
from collections.abc import Sequence

import tensorflow as tf
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.entropy_constant import EntropyConstant
from asm_tf.agents.reward_units import RewardUnits
from asm_tf.agents.sac_networks import NormalizedCritic
from asm_tf.errors import require_between, require_from_0_to_1, require_share, require_sizes
from asm_tf.gradients.policy_gradient import Reward
from asm_tf.models.continuation import RewardUntilTermination
from asm_tf.models.normalizer import Normalizer


class Critic(tf.Module):
  """Two estimates of Q(s, a, t), the discounted return from a state and an action on.

  The smaller one counts (clipped double Q-learning: Fujimoto et al., 2018). Each has a slow copy,
  the target, from which it learns.

  Attributes:
    units: the `RewardUnits` that the estimates count in.
    discount: gamma.
    imagined_steps: k, the imagined steps after which the estimate stands for all that follow.
    trust: q, 0 to 1, how far the model may be believed; `WindowValidation` measures it.
  """

  def __init__(self, setup: AgentSetup, normalizer: Normalizer,
               hidden_sizes: Sequence[int] = (256, 256), discount: float = 0.99,
               target_update_tau: float = 0.005, imagined_steps: int = 3,
               entropy_constant: EntropyConstant | None = None, trace_decay: float = 1.0):
    """Builds the networks.

    Args:
      setup: what the agent is built for.
      normalizer: of states and time.
      hidden_sizes: widths of the ReLU layers of each network.
      discount: gamma, above 0, up to 1.
      target_update_tau: share of the networks that the targets take on at each update.
      imagined_steps: k, below H.
      entropy_constant: alpha, in `units`; by default `EntropyConstant()`.
      trace_decay: lambda / q, 0 to 1: weight of the steps imagined after a state against the
        estimate there, where the model is fully trusted. At 0 only the estimate at the first state
        counts, as in soft actor-critic, but for the entropy: that of all k+1 states does.

    Raises:
      UserError: for a number out of range.
    """
    super().__init__(name='critic')
    entropy = EntropyConstant() if entropy_constant is None else entropy_constant
    require_sizes(**{'Critic.hidden_sizes': hidden_sizes})
    require_share(**{'Critic.discount': discount, 'Critic.target_update_tau': target_update_tau})
    require_between(1, setup.system.horizon - 1, **{'Critic.imagined_steps': imagined_steps})
    require_from_0_to_1(**{'Critic.trace_decay': trace_decay})
    self._trace_decay = trace_decay
    self.discount = discount
    self._execution = setup.execution
    self.imagined_steps = imagined_steps
    self.units = RewardUnits(setup, normalizer.enabled, centered=False)
    self._tau = target_update_tau
    self._last_step = setup.last_step
    spec = setup.time_step_spec.observation, setup.action_spec
    with setup.execution.creating_variables():
      self.trust = tf.Variable(1.0, trainable=False, name='trust')
      alpha = entropy.initial_of_step(setup.system.horizon)
      self._log_alpha = tf.Variable(math.log(alpha), name='log_alpha')
      self._networks, self._targets = (
          [NormalizedCritic(spec, normalizer, hidden_sizes) for _ in range(2)]
          for _ in range(2))
      for network in (*self._networks, *self._targets):
        network.create_variables()
    self._copy(1.0)
    self._target_entropy = -setup.action_spec.shape[0] / 2
    self._optimizer = setup.execution.adam(
        entropy.learning_rate, [self._log_alpha]) if entropy.learned else None

  @property
  def entropy_constant(self) -> tf.Tensor:
    """alpha, the weight of the entropy of a step, in `units`."""
    return tf.exp(self._log_alpha)

  def tune_entropy_constant(self, entropy: tf.Tensor) -> None:
    """Moves alpha, where it is learned, by the policy's entropy (nats a step)."""
    if self._optimizer is not None:
      self._execution.apply_if_finite(
          self._optimizer, [entropy - self._target_entropy], [self._log_alpha])

  @property
  def trainable_variables(self) -> list[tf.Variable]:
    """Of the networks, not of the targets."""
    return [variable for network in self._networks for variable in network.trainable_variables]

  def observe(self, episodes: Trajectory) -> None:
    """Takes new episodes, a Trajectory [B, H+1, ...], into the units."""
    self.units.observe(episodes)

  def estimates(self, observations: tf.Tensor, actions: tf.Tensor) -> list[tf.Tensor]:
    """Returns both estimates, [B] in `units`, for observations [B, n+1] and actions [B, m]."""
    return _estimates(self._networks, observations, actions)

  def target_value(self, observations: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """Returns the smaller estimate of the targets; see `estimates`."""
    return tf.minimum(*_estimates(self._targets, observations, actions))

  def update_targets(self) -> None:
    """Moves the targets towards the networks."""
    self._copy(self._tau)

  def lambda_return(self, reward: Reward) -> Reward:
    """Returns a reward of k+1 steps whose sum is the lambda-return.

    With the smaller estimate Q of what comes from a state and an action on,

        V_j = (1 - lambda) Q(s_j, a_j) + lambda (r_j + gamma V_{j+1}),   V_k = Q(s_k, a_k),

    and the sum is V_0. In a problem of H steps nothing comes at step H or later.

    Args:
      reward: function (states [B, T, n], actions [B, T, m], t) -> [B, T].
    """
    def rewards(states, actions, t):
      steps, decay = states.shape[1], self._trace_decay * self.trust
      t = tf.broadcast_to(t, states.shape[:2])  # [B, k+1]
      can_terminate = isinstance(reward, RewardUntilTermination)
      each = decay * (reward.reward if can_terminate else reward)(states, actions, t)[:, :-1]
      values = self._values(states, actions, t)
      each = tf.concat([each + (1 - decay) * values[:, :-1], values[:, -1:]], 1)
      if can_terminate:
        each *= reward.reached(states, t)
      if self._last_step is not None:
        each = tf.where(t < self._last_step, each, tf.zeros_like(each))
      return each * (decay * self.discount) ** tf.range(steps, dtype=each.dtype)

    return rewards

  def _values(self, states, actions, t):
    """The smaller estimates [B, T] of states [B, T, n], actions [B, T, m] and steps t [B, T]."""
    observations = tf.concat([states, tf.cast(t, states.dtype)[..., None]], -1)
    rows = (tf.reshape(x, [-1, x.shape[-1]]) for x in (observations, actions))
    return self.units.scale * tf.reshape(tf.minimum(*self.estimates(*rows)), t.shape)

  def _copy(self, share):
    for network, target in zip(self._networks, self._targets, strict=True):
      for variable, slow in zip(
          network.trainable_variables, target.trainable_variables, strict=True):
        slow.assign(share * variable + (1 - share) * slow)


def _estimates(networks, observations, actions):
  return [network((observations, actions))[0] for network in networks]
