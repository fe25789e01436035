"""What the true open-loop gradient can teach about Pendulum-v1, by horizon.

    python -m benchmarks.pendulum_gradient --horizon=50

Improves a policy through the environment's own equations, written in TensorFlow, by the
gradient that an agent follows through its model: no model can teach more. Prints a line of JSON.
"""

import json
import math

import tensorflow as tf
from absl import flags

from asm_tf.agents.execution import Execution
from asm_tf.gradients.policy_gradient import open_loop_policy_gradient, predicted_returns, roll_out
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from launch import command_line

_BATCH_SIZE, _EVALUATED = 16, 256  # trajectories

flags.DEFINE_integer('horizon', 50, 'H.', lower_bound=2)
flags.DEFINE_integer('updates', 1200, 'Policy updates.', lower_bound=1)
flags.DEFINE_integer('seed', 0, 'Of everything random.', lower_bound=0)


class Pendulum(SequenceModel):
  """Pendulum-v1 on its observations (cos angle, sin angle, angular velocity)."""

  def start(self, initial_state, horizon):
    return initial_state

  def step(self, carry, action, t):
    cosine, sine, velocity = tf.unstack(carry, axis=-1)
    velocity = tf.clip_by_value(velocity + 0.05 * (15 * sine + 6 * action[..., 0]), -8.0, 8.0)
    c, s = tf.cos(0.05 * velocity), tf.sin(0.05 * velocity)
    state = tf.stack([cosine * c - sine * s, sine * c + cosine * s, velocity], -1)
    return state, state


def reward(states, actions, t):
  """The environment's: minus squared angle, a tenth of squared velocity, a bit of torque."""
  cosine, sine, velocity = tf.unstack(states, axis=-1)
  return -(tf.atan2(sine, cosine) ** 2 + 0.1 * velocity**2 + 0.004 * actions[..., 0] ** 2)


def starts(count):
  angle, velocity = tf.random.uniform([count], -math.pi, math.pi), tf.random.uniform([count], -1, 1)
  return tf.stack([tf.cos(angle), tf.sin(angle), velocity], -1)


def main():
  horizon, seed = flags.FLAGS.horizon, flags.FLAGS.seed
  tf.keras.utils.set_random_seed(seed)
  model, normalizer = Pendulum(), Normalizer(3, horizon)
  normalizer.update(tf.random.normal([1000, 3]) * [0.7, 0.7, 3.0])
  actor = SquashedGaussianActor(normalizer, 3, 1)
  execution = Execution()
  optimizer = execution.adam(1e-3, actor.trainable_variables)

  @tf.function(jit_compile=True)
  def update(initial_state, noise):
    imagined = open_loop_policy_gradient(
        model, reward, actor, initial_state, noise, 1.6 * horizon, 0.001)
    norm, _ = execution.apply_if_finite(
        optimizer, [-gradient for gradient in imagined.gradients], actor.trainable_variables, 100.0)
    return norm

  @tf.function(jit_compile=True)
  def mean_return(initial_state):
    states = roll_out(model, actor, initial_state, tf.zeros([_EVALUATED, horizon, 1]))
    actions = tf.tanh(actor(states, tf.range(horizon))[0])
    return tf.reduce_mean(predicted_returns(model, reward, initial_state, actions))

  evaluated = starts(_EVALUATED)
  before, norms = float(mean_return(evaluated)), []
  for _ in range(flags.FLAGS.updates):
    norms.append(float(update(starts(_BATCH_SIZE), tf.random.normal([_BATCH_SIZE, horizon, 1]))))
  norms.sort()
  print(json.dumps({
      'horizon': horizon, 'updates': flags.FLAGS.updates, 'seed': seed, 'return_before': before,
      'return': float(mean_return(evaluated)), 'median_gradient_norm': norms[len(norms) // 2],
      'largest_gradient_norm': norms[-1]}))


if __name__ == '__main__':
  command_line.run(main)
