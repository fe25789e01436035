"""One cell of Figure 2: fit a model offline, compare its policy gradient with the truth.

Toy credit assignment (F.1): a random deterministic policy collects 100,000 transitions
with perturbed actions; the policy gradient at that policy through the fitted model is
compared with the one through the true dynamics.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from asm_tf.errors import UserError
from asm_tf.experiments.offline_model import NUM_TRANSITIONS, fitted_model
from asm_tf.gradients.comparison import cosine_similarity, relative_error
from asm_tf.gradients.policy_gradient import open_loop_policy_gradient
from asm_tf.models.loss import require_loss_weighting
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.systems.toy_credit_assignment import ToyCreditAssignment
from asm_tf.training.offline import DataSet, FitSettings

_NOISE_STD = 0.1  # of the perturbed actions
_MEASUREMENTS = 4  # evenly over the training


def run(cell: dict, models: dict[str, Callable[..., SequenceModel]],
        loss_weightings: dict[str, str] | None = None) -> list[dict]:
  """Rows of one cell.

  Args:
    cell: dict of `grid`'s fields.
    models: {name: class of `SequenceModel`}.
    loss_weightings: {name: see `prediction_loss`}; 'uniform' where there is none.

  Returns:
    One row per measurement: updates, model_loss, cosine and relative_error.
  """
  loss_weightings = loss_weightings or {}
  for name, value in loss_weightings.items():
    require_loss_weighting('gradient_accuracy.run.loss_weightings', value)
    if name not in models:
      raise UserError(f'gradient_accuracy.run.loss_weightings has {name!r}: there are '
                      f'{", ".join(models)}.')
  horizon = cell['horizon']
  system = ToyCreditAssignment(horizon)
  tf.keras.utils.set_random_seed(cell['seed'])
  # A normaliser of its own, which sees no data: the policy stays what it is.
  actor = SquashedGaussianActor(Normalizer(system.state_size, horizon), system.state_size,
                                system.action_size, initial_mean_variance=1.0)

  noise = tf.zeros([1, horizon, system.action_size])  # the policy is deterministic

  @functools.partial(tf.function, jit_compile=True, autograph=False)
  def policy_gradient(model):
    return open_loop_policy_gradient(
        model, system.reward, actor, system.initial_state(1), noise).gradients

  truth = policy_gradient(TrueDynamics(system))

  def measure(model):
    gradient = policy_gradient(model)
    return {'cosine': float(cosine_similarity(gradient, truth)),
            'relative_error': float(relative_error(gradient, truth))}

  settings = FitSettings(
      cell['num_updates'], batch_size=cell['batch_size'], seed=cell['seed'],
      measure_interval=max(1, cell['num_updates'] // _MEASUREMENTS),
      loss_weighting=loss_weightings.get(cell['model'], 'uniform'))
  data = DataSet(NUM_TRANSITIONS, actor, _NOISE_STD)
  _, rows = fitted_model(system, models[cell['model']], data, settings, measure)
  return rows
