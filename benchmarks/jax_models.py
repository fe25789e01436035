"""The paper's action-sequence models and updates in plain JAX, to be timed beside ours.

Written from the paper and from what is known of its authors' program, whose code is not
here: LSTM of one layer of 72 between two-layer MLPs; GPT of two layers, three heads and width
72; Adam; the policy gradient by reverse-mode differentiation through a step-by-step scan, in
which the transformer decodes with a key-value cache of full length. Cancer treatment's sizes,
and its reward's.

    python -m benchmarks.jax_models MODEL HORIZON

compiles, then answers each line on stdin with {update: seconds} as JSON. Needs jax and, for the
updates, optax.
"""

import functools
import math
import sys

import jax
from jax import lax
from jax import numpy as jnp

from benchmarks.serve import serve
from benchmarks.table_1 import BATCH, POLICY_BATCH

N = M = 1
EMBEDDING, HEADS, LAYERS, HIDDEN = 72, 3, 2, 64


def dense(key, inputs, outputs):
  return {'w': jax.random.normal(key, (inputs, outputs)) / math.sqrt(inputs),
          'b': jnp.zeros(outputs)}


def linear(p, x):
  return x @ p['w'] + p['b']


def mlp(key, *sizes):
  keys = jax.random.split(key, len(sizes) - 1)
  return [dense(*layer) for layer in zip(keys, sizes[:-1], sizes[1:], strict=True)]


def apply_mlp(layers, x):
  for layer in layers[:-1]:
    x = jax.nn.relu(linear(layer, x))
  return linear(layers[-1], x)


def with_time(x, t, horizon):
  return jnp.concatenate([x, jnp.broadcast_to(t / horizon, x[..., :1].shape)], -1)


class LSTM:
  """Time-major: actions [T, B, m]."""

  def __init__(self, horizon):
    self.horizon = horizon

  def init(self, key):
    keys = jax.random.split(key, 5)
    return {'encoder': mlp(keys[0], M + 1, EMBEDDING, EMBEDDING),
            'x': dense(keys[1], EMBEDDING, 4 * EMBEDDING),
            'h': dense(keys[2], EMBEDDING, 4 * EMBEDDING),
            'start': mlp(keys[3], N, EMBEDDING, 2 * EMBEDDING),
            'decoder': mlp(keys[4], EMBEDDING, EMBEDDING, N)}

  def start(self, p, state):
    return tuple(jnp.split(apply_mlp(p['start'], state), 2, -1))

  def cell(self, p, carry, z):
    h, c = carry
    i, f, g, o = jnp.split(z + linear(p['h'], h), 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h

  def embed(self, p, action, t):
    return linear(p['x'], apply_mlp(p['encoder'], with_time(action, t, self.horizon)))

  def step(self, p, carry, action, t):
    carry, h = self.cell(p, carry, self.embed(p, action, t))
    return carry, apply_mlp(p['decoder'], h)

  def predict(self, p, state, actions):
    z = self.embed(p, actions, jnp.arange(self.horizon)[:, None, None])
    _, h = lax.scan(functools.partial(self.cell, p), self.start(p, state), z)
    return apply_mlp(p['decoder'], h)


def normalize(x):
  x = x - x.mean(-1, keepdims=True)
  return x * lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-5)


class GPT:
  """A token a step: initial state, action and time."""

  def __init__(self, horizon):
    self.horizon = horizon

  def init(self, key):
    *keys, first, last = jax.random.split(key, 3 * LAYERS + 2)
    layers = [{'qkv': dense(a, EMBEDDING, 3 * EMBEDDING), 'out': dense(b, EMBEDDING, EMBEDDING),
               'mlp': mlp(c, EMBEDDING, HIDDEN, EMBEDDING)}
              for a, b, c in zip(keys[::3], keys[1::3], keys[2::3], strict=True)]
    return {'embedding': dense(first, N + M + 1, EMBEDDING), 'layers': layers,
            'positions': jnp.zeros([self.horizon, EMBEDDING]),
            'read_out': dense(last, EMBEDDING, N)}

  def embed(self, p, state, action, t):
    token = with_time(jnp.concatenate([state, action], -1), t, self.horizon)
    return linear(p['embedding'], token)

  def heads(self, x):
    return x.reshape(*x.shape[:-1], HEADS, EMBEDDING // HEADS)

  def attend(self, q, k, v, mask):
    """q [Q, B, h, d], k and v [T, B, h, d], mask [Q, T]."""
    scores = jnp.einsum('qbhd,tbhd->bhqt', q, k) / math.sqrt(EMBEDDING // HEADS)
    weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))
    return jnp.einsum('bhqt,tbhd->qbhd', weights, v)

  def block(self, layer, x, attended):
    x = x + linear(layer['out'], attended.reshape(x.shape))
    hidden, read = layer['mlp']
    return x + linear(read, jax.nn.gelu(linear(hidden, normalize(x))))

  def predict(self, p, state, actions):
    steps = self.horizon
    x = self.embed(p, jnp.broadcast_to(state, (steps, *state.shape)), actions,
                   jnp.arange(steps)[:, None, None]) + p['positions'][:, None]
    mask = jnp.tril(jnp.ones([steps, steps], bool))
    for layer in p['layers']:
      q, k, v = map(self.heads, jnp.split(linear(layer['qkv'], normalize(x)), 3, -1))
      x = self.block(layer, x, self.attend(q, k, v, mask))
    return linear(p['read_out'], normalize(x))

  def start(self, p, state):
    del p
    shape = [self.horizon, len(state), HEADS, EMBEDDING // HEADS]
    return state, [(jnp.zeros(shape), jnp.zeros(shape)) for _ in range(LAYERS)]

  def step(self, p, carry, action, t):
    state, caches = carry
    x = (self.embed(p, state, action, t) + p['positions'][t])[None]
    mask = (jnp.arange(self.horizon) <= t)[None]
    kept = []
    for layer, cache in zip(p['layers'], caches, strict=True):
      q, k, v = map(self.heads, jnp.split(linear(layer['qkv'], normalize(x)), 3, -1))
      kept.append(tuple(lax.dynamic_update_slice_in_dim(old, new, t, 0)
                        for old, new in zip(cache, (k, v), strict=True)))
      x = self.block(layer, x, self.attend(q, *kept[-1], mask))
    return (state, kept), linear(p['read_out'], normalize(x))[0]


MODELS = {'lstm': LSTM, 'transformer': GPT}


def updates(model, times=1):
  """{name: function ()} that runs so many updates and waits for the last; see `functions_of`."""
  import optax
  model_gradient, policy_gradient, parameters = functions_of(model)
  optimizer = optax.adam(1e-3)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def update_model(p, moments):
    changes, moments = optimizer.update(model_gradient(p), moments)
    return optax.apply_updates(p, changes), moments

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def update_policy(p, moments, model_p):
    changes, moments = optimizer.update(policy_gradient(p, model_p), moments)
    return optax.apply_updates(p, changes), moments

  kept = dict(parameters)
  moments = {name: optimizer.init(p) for name, p in kept.items()}

  def model_update():
    for _ in range(times):
      kept['model'], moments['model'] = update_model(kept['model'], moments['model'])
    jax.block_until_ready(kept['model'])

  def policy_update():
    for _ in range(times):
      kept['policy'], moments['policy'] = update_policy(
          kept['policy'], moments['policy'], kept['model'])
    jax.block_until_ready(kept['policy'])

  return {'model_update': model_update, 'policy_update': policy_update}


def gradients(model):
  """{name: function ()} that forms a gradient and waits for it; see `functions_of`."""
  of_model, of_policy, parameters = functions_of(model)
  of_model, of_policy = jax.jit(of_model), jax.jit(of_policy)
  return {'model_gradient': lambda: jax.block_until_ready(of_model(parameters['model'])),
          'policy_gradient': lambda: jax.block_until_ready(
              of_policy(parameters['policy'], parameters['model']))}


def functions_of(model):
  """Gradients of the loss (model's p) and of the cost (policy's p, model's p), and {name: p}."""
  keys = jax.random.split(jax.random.PRNGKey(0), 6)
  horizon = model.horizon
  state = jnp.ones([BATCH, N])
  actions = jax.random.uniform(keys[0], [horizon, BATCH, M], minval=-1)
  states = jax.random.normal(keys[1], [horizon, BATCH, N])
  noise = jax.random.normal(keys[2], [horizon, POLICY_BATCH, M])

  def model_loss(p):
    return jnp.mean((model.predict(p, state, actions) - states) ** 2)

  def policy(p, state, t):
    mean, log_std = jnp.split(apply_mlp(p, with_time(state, t, horizon)), 2, -1)
    return mean, log_std

  def cost(p, model_p):
    def step(carry, inputs):
      (memory, s), (t, eps) = carry, inputs
      mean, log_std = policy(p, lax.stop_gradient(s), t)  # open loop
      action = jnp.tanh(mean + jnp.exp(log_std) * eps)
      memory, following = model.step(model_p, memory, action, t)
      return (memory, following), s + 0.1 * action**2

    start = state[:POLICY_BATCH]
    _, costs = lax.scan(step, (model.start(model_p, start), start), (jnp.arange(horizon), noise))
    return costs.sum() / POLICY_BATCH

  return jax.grad(model_loss), jax.grad(cost), {
      'model': model.init(keys[3]), 'policy': mlp(keys[4], N + 1, 64, 64, 2 * M)}


if __name__ == '__main__':
  chosen, steps = sys.argv[1], int(sys.argv[2])
  at_once = max(1, 200 // steps)
  functions = updates(MODELS[chosen](steps), at_once)
  serve(functions, dict.fromkeys(functions, at_once))
