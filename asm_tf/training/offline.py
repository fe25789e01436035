"""Fitting a world model to a fixed data set (paper, Section 4.1; F.1)."""

import tensorflow as tf
from tqdm import tqdm

from asm_tf.agents.programs import compiled, default_parts, in_parts, mean_of
from asm_tf.agents.updates import apply_if_finite
from asm_tf.models.loss import prediction_loss

# Updates between two returns to Python.
_CHUNK = 50


def collect(system, actor, num_transitions, noise_std, seed):
  """Whole episodes of a deterministic policy with perturbed actions.

  a_t = clip(tanh mu(s_t, t) + noise_std eps_t, -1, 1), eps_t ~ N(0, I)

  Args:
    system: `System`.
    actor: `SquashedGaussianActor`, or None for uniform random actions.
    num_transitions: steps to collect, rounded down to whole episodes (at least one).
    noise_std: standard deviation of the perturbation.
    seed: of the perturbation.

  Returns:
    states [N, H+1, n] and actions [N, H, m].
  """
  generator = tf.random.Generator.from_seed((seed, 8), alg='philox')
  episodes = max(1, num_transitions // system.horizon)
  state = system.initial_state(episodes)
  states, actions = [state], []
  shape = [episodes, system.action_size]
  for t in range(system.horizon):
    if actor is None:
      action = generator.uniform(shape, -1, 1, dtype=state.dtype)
    else:
      noise = generator.normal(shape, dtype=state.dtype)
      action = tf.clip_by_value(tf.tanh(actor(state, t)[0]) + noise_std * noise, -1, 1)
    state = system.step(state, action, t)
    states.append(state)
    actions.append(action)
  return tf.stack(states, 1), tf.stack(actions, 1)


def fit(model, normalizer, states, actions, num_updates, measure=dict, measure_interval=1000,
        batch_size=64, learning_rate=1e-3, octaves_alike=False, seed=0):
  """Fits a world model by Adam, with a learning rate that falls to 0 as a cosine.

  Args:
    model: built `SequenceModel` with the normaliser `normalizer`, which takes the
      states in first.
    normalizer: `Normalizer`.
    states: [N, T+1, n].
    actions: [N, T, m].
    num_updates: of the weights.
    measure: function () -> dict, called before the first update, then every
      `measure_interval` updates and after the last.
    measure_interval: updates, at least 1.
    batch_size: trajectories an update.
    learning_rate: at the start.
    octaves_alike: see `prediction_loss`.
    seed: of the batches.

  Returns:
    A list of dicts: 'updates', 'model_loss' of the last batch, 'skipped_updates' for
    gradients that were not finite, and what was measured.
  """
  normalizer.update(states)
  schedule = tf.keras.optimizers.schedules.CosineDecay(learning_rate, num_updates)
  optimizer = tf.keras.optimizers.Adam(schedule, jit_compile=False)
  optimizer.build(model.trainable_variables)
  generator = tf.random.Generator.from_seed((seed, 9), alg='philox')
  skipped = tf.Variable(0, trainable=False)

  def loss_and_gradient(*batch):
    with tf.GradientTape() as tape:
      loss = prediction_loss(
          model, normalizer, *batch, octaves_alike=octaves_alike, training=True)
    return loss, tape.gradient(loss, model.trainable_variables)

  def apply_mean(parts):
    loss, gradients = mean_of(parts)
    return loss, apply_if_finite(optimizer, gradients, model.trainable_variables)[1]

  gradient = in_parts(compiled(loss_and_gradient), default_parts(),
                      model.trajectories_at_once(actions.shape[1]))
  apply = compiled(apply_mean)

  @tf.autograph.experimental.do_not_convert
  def update():
    rows = generator.uniform([batch_size], maxval=states.shape[0], dtype=tf.int32)
    loss, applied = apply(gradient(tf.gather(states, rows), tf.gather(actions, rows)))
    skipped.assign_add(tf.where(applied, 0, 1))
    return loss

  @tf.function
  def update_often(times):
    loss = update()
    for _ in tf.range(times - 1):
      loss = update()
    return loss

  measured, loss = [], float('nan')
  with tqdm(total=num_updates, unit='update', dynamic_ncols=True) as bar:
    while True:
      if bar.n % measure_interval == 0 or bar.n == num_updates:
        measured.append({'updates': bar.n, 'model_loss': float(loss),
                         'skipped_updates': int(skipped), **measure()})
        bar.set_postfix(measured[-1], refresh=False)
      if bar.n >= num_updates:
        return measured
      times = min(_CHUNK, measure_interval - bar.n % measure_interval, num_updates - bar.n)
      loss = update_often(tf.constant(times))
      bar.update(times)
