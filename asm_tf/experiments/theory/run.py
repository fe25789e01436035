"""One cell of the theory's figure: the policy gradient against H through one architecture.

No model here is trained: the theory is about what an architecture does to a gradient. The
policy is a_t = tanh(theta), the return the sum of the states' components, in float64.

    RNN          Equation 2 with random positive weights, spectral radius 1.1
    M-RNN        the true dynamics of the chaotic double pendulum
    Attention    Equation 3 with standard normal weights
    LSTM, StateSpace, Transformer    as they are before training
"""

import numpy as np
import tensorflow as tf

from asm_tf.gradients.jacobians import log_policy_gradient_norms
from asm_tf.models.lstm import LSTM
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.rnn import RNN
from asm_tf.models.self_attention import SelfAttention
from asm_tf.models.state_space import StateSpace
from asm_tf.models.transformer import Transformer
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.double_pendulum import DoublePendulum

SPECTRAL_RADIUS = 1.1  # of the RNN's recurrent weights
_HORIZONS = (10, 20, 50, 100, 200, 500)
_STATE_SIZE, _ACTION_SIZE, _KEY_SIZE = 2, 1, 8
_OURS = {'LSTM': LSTM, 'StateSpace': StateSpace, 'Transformer': Transformer}


class ConstantActor(tf.Module):
  """a = tanh(theta) in every state."""

  def __init__(self, action_size: int, theta: float = 0.0):
    super().__init__()
    self.theta = tf.Variable(tf.fill([action_size], tf.constant(theta, tf.float64)))

  def __call__(self, state: tf.Tensor, t: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    mean = tf.zeros_like(state[..., :1]) + self.theta
    return mean, tf.zeros_like(mean)


def run(cell: dict) -> list[dict]:
  """The rows of one cell: log |grad J| at each horizon.

  Args:
    cell: dict of model, longest_horizon and seed.
  """
  tf.keras.utils.set_random_seed(cell['seed'])
  generator = np.random.default_rng(cell['seed'])
  longest = cell['longest_horizon']
  horizons = [horizon for horizon in _HORIZONS if horizon <= longest]
  if cell['model'] == 'M-RNN':
    model, size = TrueDynamics(DoublePendulum(longest, tf.float64)), 4
    theta = generator.uniform(-1, 1)  # it swings from the angle pi tanh(theta)
  else:
    model, size, theta = _make_model(cell['model'], generator, longest), _STATE_SIZE, 0.0
  actor = ConstantActor(_ACTION_SIZE, theta)
  noise = np.zeros([1, longest, _ACTION_SIZE])
  if cell['model'] == 'Attention':  # to equal tokens it attends equally, whatever its weights
    noise = generator.normal(size=noise.shape)
  logs = tf.function(lambda: log_policy_gradient_norms(
      model, lambda s, a, t: tf.reduce_sum(s, -1), actor, tf.zeros([1, size], tf.float64),
      tf.constant(noise), horizons), autograph=False)().numpy()
  return [{'horizon': horizon, 'log_gradient_norm': float(log)}
          for horizon, log in zip(horizons, logs, strict=True)]


def _make_model(name, generator, longest):
  if name in _OURS:
    return _OURS[name](Normalizer(_STATE_SIZE, longest, dtype=tf.float64), _STATE_SIZE,
                       _ACTION_SIZE, dtype='float64')
  if name == 'RNN':
    return equation_2(*random_equation_2(generator, SPECTRAL_RADIUS, _STATE_SIZE, _ACTION_SIZE))
  if name == 'Attention':
    return _attention(generator, longest)
  raise ValueError(f'no architecture is called {name!r}.')


def equation_2(recurrent: np.ndarray, by_action: np.ndarray, read_out: np.ndarray) -> RNN:
  """x_t = tanh(W_x x_{t-1}) + W_a a_{t-1}, s_t = W_o x_t: no bias, no time, x_0 = 0.

  Args:
    recurrent: W_x, [u, u].
    by_action: W_a, [u, m].
    read_out: W_o, [n, u].
  """
  (units, action_size), state_size = by_action.shape, read_out.shape[0]
  model = RNN(Normalizer(state_size, 1, enabled=False, dtype=tf.float64), state_size,
              action_size, action_size, (units,), 'float64')
  for variable in model.trainable_variables:
    variable.assign(tf.zeros_like(variable))
  embedding, _, kernel, recurrent_kernel, *_, read_out_kernel, _ = model.trainable_variables
  embedding.assign(np.eye(action_size + 1, action_size))
  for variable, weights in ((kernel, by_action), (recurrent_kernel, recurrent),
                            (read_out_kernel, read_out)):
    variable.assign(weights.T)
  return model


def random_equation_2(generator: np.random.Generator, radius: float, state_size: int,
                      action_size: int,
                      units: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Random weights of `equation_2`; positive, so that W_x's largest eigenvalue is real."""
  recurrent = generator.uniform(size=(units, units))
  recurrent *= radius / np.max(np.abs(np.linalg.eigvals(recurrent)))
  return (recurrent, generator.uniform(size=(units, action_size)),
          generator.uniform(size=(state_size, units)))


def _attention(generator, longest):
  normalizer = Normalizer(_STATE_SIZE, longest, enabled=False, dtype=tf.float64)
  model = SelfAttention(normalizer, _STATE_SIZE, _ACTION_SIZE, _KEY_SIZE, 'float64')
  for variable in model.trainable_variables:
    kernel = generator.normal(size=variable.shape)
    kernel[:_STATE_SIZE] = kernel[_STATE_SIZE + _ACTION_SIZE:] = 0  # tokens of actions alone
    variable.assign(kernel)
  return model
