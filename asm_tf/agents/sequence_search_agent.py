"""What one would try first: random search and the cross-entropy method over action sequences.

No model and no gradient. A sequence a_0 .. a_{H-1} is played as an episode; after each
population of episodes the cross-entropy method moves a Gaussian towards the elite,

    mu <- mean of the elite,   sigma <- standard deviation of the elite

(Rubinstein, 1999; independent over steps), and random search keeps the best sequence that
it has seen. Both are evaluated by what they would play now: mu, or the best sequence.
"""

from collections.abc import Callable

import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.policies import tf_policy
from tf_agents.trajectories import policy_step
from tf_agents.trajectories.trajectory import Trajectory

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.errors import UserError, require_at_least
from asm_tf.policies.acting_step import acting_step
from asm_tf.random_streams import Stream
from asm_tf.replay import episode_steps

_SMALLEST_STD = 1e-3


class SequenceSearchAgent(tf_agent.TFAgent):
  """Learns from whole episodes, as they are observed; `train` has nothing to do."""

  def __init__(self, setup: AgentSetup, population: int = 50, elite: int = 5,
               refit: bool = True):
    """Builds the agent.

    Args:
      setup: what it is built for; its system's episodes have one length.
      population: episodes between two moves of the Gaussian.
      elite: the number of best episodes that it moves to.
      refit: True is the cross-entropy method; False keeps drawing uniformly, which is random
        search.
    """
    require_at_least(1, **{'SequenceSearchAgent.population': population,
                           'SequenceSearchAgent.elite': elite})
    if elite > population:
      raise UserError(f'SequenceSearchAgent.elite is {elite} of a population of {population}: '
                      'give fewer.')
    size = [setup.system.horizon, setup.action_spec.shape[0]]
    self._elite, self._refit = elite, refit
    self._mean = tf.Variable(tf.zeros(size), trainable=False, name='mean')
    self._std = tf.Variable(tf.ones(size), trainable=False, name='std')
    self._best = tf.Variable(tf.zeros(size), trainable=False, name='best')
    self._best_return = tf.Variable(-float('inf'), trainable=False, name='best_return')
    self._sequences = tf.Variable(tf.zeros([population, *size]), trainable=False)
    self._returns = tf.Variable(tf.zeros([population]), trainable=False)
    self._seen = tf.Variable(0, trainable=False, name='seen')
    played = self._mean if refit else self._best
    specs = setup.time_step_spec, setup.action_spec
    super().__init__(
        *specs,
        policy=_SequencePolicy(*specs, played),
        collect_policy=_SequencePolicy(
            *specs, self._mean, self._std if refit else None, setup.generator(Stream.EXPLORATION)),
        train_sequence_length=setup.system.horizon + 1,
        train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False, name='train_step'))

  def observe(self, episodes: Trajectory) -> None:
    """Takes one new episode, a Trajectory [1, H+1, ...]."""
    actions, reached = episodes.action[0, :-1], episode_steps.returns(episodes)[0]
    better = reached > self._best_return
    self._best.assign(tf.where(better, actions, self._best))
    self._best_return.assign(tf.maximum(reached, self._best_return))
    population = self._returns.shape[0]
    row = self._seen % population
    self._sequences.scatter_nd_update([[row]], actions[None])
    self._returns.scatter_nd_update([[row]], reached[None])
    self._seen.assign_add(1)
    if self._refit:
      tf.cond(self._seen % population == 0, self._move, lambda: None)

  def metrics(self) -> dict[str, tf.Tensor]:
    """{name: scalar}: the best return so far, and the mean deviation of the Gaussian."""
    return {'best_return': self._best_return, 'sequence_std': tf.reduce_mean(self._std)}

  def _move(self):
    _, rows = tf.math.top_k(self._returns, self._elite)
    elite = tf.gather(self._sequences, rows)
    self._mean.assign(tf.reduce_mean(elite, 0))
    self._std.assign(tf.maximum(tf.math.reduce_std(elite, 0), _SMALLEST_STD))

  def _train(self, experience, weights=None):
    self.train_step_counter.assign_add(1)
    return tf_agent.LossInfo(loss=tf.zeros([]), extra=())


class _SequencePolicy(tf_policy.TFPolicy):
  """Plays a sequence, with noise around it or (without a deviation) uniform actions."""

  def __init__(self, time_step_spec, action_spec, mean, std=None, generator=None):
    super().__init__(time_step_spec, action_spec, clip=False)
    self._mean, self._std, self._generator = mean, std, generator

  def _variables(self):
    return [self._mean] + ([] if self._std is None else [self._std])

  def _action(self, time_step, policy_state, seed):
    t = acting_step(time_step.observation[:, -1], self._mean.shape[0])
    action = tf.gather(self._mean, t)
    if self._generator is not None and self._std is None:
      action = self._generator.uniform(tf.shape(action), -1, 1)
    elif self._generator is not None:
      noise = self._generator.normal(tf.shape(action))
      action = tf.clip_by_value(action + tf.gather(self._std, t) * noise, -1, 1)
    return policy_step.PolicyStep(action, policy_state)


def make_sequence_search_agent(
    setup: AgentSetup,
    agent: Callable[..., SequenceSearchAgent] = SequenceSearchAgent) -> SequenceSearchAgent:
  """Builds the agent.

  Args:
    setup: what the agent is built for.
    agent: class of the agent.

  Raises:
    UserError: on several replicas, or where episodes may end early.
  """
  if setup.execution.strategy is not None:
    raise UserError('a search over action sequences has no gradients to share among replicas: '
                    'leave --strategy.')
  if not setup.system.has_fixed_length:
    raise UserError(f'episodes of {setup.system.name} may end early, and a sequence that was only '
                    'partly played has no score: train another agent.')
  return agent(setup)
