"""Fitting a world model to a fixed data set (paper, Section 4.1; F.1)."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf
from tqdm import tqdm

from asm_tf.agents.execution import Execution, mean_of
from asm_tf.errors import require_at_least, require_positive
from asm_tf.models.loss import prediction_loss, require_loss_weighting
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.policies.squashed_gaussian import SquashedGaussianActor
from asm_tf.random_streams import Stream, make_generator
from asm_tf.systems.system import System

# Updates between two returns to Python.
_CHUNK = 50


@dataclasses.dataclass(frozen=True)
class FitSettings:
  """How a model is fitted: by Adam, with a learning rate that falls to 0 as a cosine.

  Attributes:
    num_updates: of the weights.
    measure_interval: updates between measurements, at least 1.
    batch_size: trajectories per update.
    learning_rate: at the start.
    loss_weighting: see `prediction_loss`.
    seed: of the batches.

  Raises:
    UserError: for numbers below 1, a learning rate that is not positive, an unknown weighting.
  """

  num_updates: int
  measure_interval: int = 1000
  batch_size: int = 64
  learning_rate: float = 1e-3
  loss_weighting: str = 'uniform'
  seed: int = 0

  def __post_init__(self):
    require_at_least(1, **{f'FitSettings.{name}': getattr(self, name) for name in (
        'num_updates', 'measure_interval', 'batch_size')})
    require_positive(**{'FitSettings.learning_rate': self.learning_rate})
    require_loss_weighting('FitSettings.loss_weighting', self.loss_weighting)


@dataclasses.dataclass(frozen=True)
class DataSet:
  """Episodes of a policy with perturbed actions.

  Attributes:
    num_transitions: steps to collect, rounded down to whole episodes (at least one).
    actor: deterministic policy; None takes uniform random actions.
    noise_std: standard deviation of the perturbation of its actions.
  """

  num_transitions: int
  actor: SquashedGaussianActor | None = None
  noise_std: float = 0.0


def collect(system: System, data: DataSet, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
  """Collects whole episodes of a deterministic policy with perturbed actions.

  a_t = clip(tanh mu(s_t, t) + noise_std eps_t, -1, 1), eps_t ~ N(0, I)

  Args:
    system: in which the policy acts.
    data: what to collect.
    seed: of the perturbation.

  Returns:
    states [N, H+1, n] and actions [N, H, m].
  """
  generator = make_generator(seed, Stream.PERTURBATION)
  episodes = max(1, data.num_transitions // system.horizon)
  state = system.initial_state(episodes)
  states, actions = [state], []
  shape = [episodes, system.action_size]
  for t in range(system.horizon):
    if data.actor is None:
      action = generator.uniform(shape, -1, 1, dtype=state.dtype)
    else:
      noise = generator.normal(shape, dtype=state.dtype)
      action = tf.clip_by_value(tf.tanh(data.actor(state, t)[0]) + data.noise_std * noise, -1, 1)
    state = system.step(state, action, t)
    states.append(state)
    actions.append(action)
  return tf.stack(states, 1), tf.stack(actions, 1)


def fit(model: SequenceModel, normalizer: Normalizer, states: tf.Tensor, actions: tf.Tensor,
        settings: FitSettings, measure: Callable[[], dict] = dict) -> list[dict]:
  """Fits a world model.

  Args:
    model: built, with the normaliser `normalizer`, which takes the states in first.
    normalizer: see `model`.
    states: [N, T+1, n].
    actions: [N, T, m].
    settings: of the fit.
    measure: function () -> dict, called before the first update, then every
      `settings.measure_interval` updates and after the last.

  Returns:
    A list of dicts: 'updates', 'model_loss' of the last batch, 'skipped_updates' for gradients
    that were not finite, and what was measured.
  """
  normalizer.update(states)
  fitting = _Fit(model, normalizer, states, actions, settings)
  interval, num_updates = settings.measure_interval, settings.num_updates
  measured, loss, updates = [], float('nan'), 0
  with tqdm(total=num_updates, unit='update', dynamic_ncols=True) as bar:
    while True:
      if updates % interval == 0 or updates == num_updates:
        measured.append({'updates': updates, 'model_loss': float(loss),
                         'skipped_updates': int(fitting.skipped), **measure()})
        bar.set_postfix(measured[-1], refresh=False)
      if updates >= num_updates:
        return measured
      times = min(_CHUNK, interval - updates % interval, num_updates - updates)
      loss = fitting.update(tf.constant(times))
      updates += times
      bar.update(times)


class _Fit:
  """The compiled updates of one fit.

  Attributes:
    skipped: updates that were skipped because their gradient was not finite.
  """

  def __init__(self, model, normalizer, states, actions, settings):
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        settings.learning_rate, settings.num_updates)
    execution = Execution()
    self._execution = execution
    self._model, self._normalizer = model, normalizer
    self._states, self._actions = states, actions
    self._settings = settings
    self._optimizer = execution.adam(schedule, model.trainable_variables)
    self._generator = make_generator(settings.seed, Stream.OFFLINE_BATCHES)
    self.skipped = tf.Variable(0, trainable=False)
    self._gradient = execution.gradient_program(
        self._loss_and_gradient, model.microbatch_size(actions.shape[1]))
    self._apply = execution.update_program(self._apply_gradient)

  @tf.function
  def update(self, times: tf.Tensor) -> tf.Tensor:
    """Makes so many updates; returns the loss of the last batch."""
    loss = self._update()
    for _ in tf.range(times - 1):
      loss = self._update()
    return loss

  @tf.autograph.experimental.do_not_convert
  def _update(self):
    rows = self._generator.uniform(
        [self._settings.batch_size], maxval=self._states.shape[0], dtype=tf.int32)
    loss, applied = self._apply(self._gradient(
        tf.gather(self._states, rows), tf.gather(self._actions, rows)))
    self.skipped.assign_add(tf.where(applied, 0, 1))
    return loss

  def _loss_and_gradient(self, states, actions):
    with tf.GradientTape() as tape:
      loss = prediction_loss(
          self._model, self._normalizer, states, actions,
          loss_weighting=self._settings.loss_weighting, training=True)
    return loss, tape.gradient(loss, self._model.trainable_variables)

  def _apply_gradient(self, microbatches):
    loss, gradients = mean_of(microbatches)
    return loss, self._execution.apply_if_finite(
        self._optimizer, gradients, self._model.trainable_variables)[1]
