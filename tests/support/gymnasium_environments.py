"""Small Gymnasium environments for tests, registered under asm_tf_test/."""

import gymnasium
import numpy as np

LIMIT = 8  # steps of an episode at most


class Corridor(gymnasium.Env):
  """x' = x + 0.3 u with u in [-1, 3]; leaving (-1, 1) ends the episode. Reward 1 + x.

  The observation is a [2, 1] array of x and the last control u.
  """

  observation_space = gymnasium.spaces.Box(-np.inf, np.inf, [2, 1], np.float64)
  action_space = gymnasium.spaces.Box(-1.0, 3.0, [1, 1], np.float64)

  def __init__(self, nan_at=None, nan_reward_at=None, nan_in_episode=None, sizes=(2, 1),
               reward_sizes=(), raise_at=None):
    self._nan_at, self._nan_reward_at, self._nan_in_episode = nan_at, nan_reward_at, nan_in_episode
    self._raise_at = raise_at
    self._sizes, self._reward_sizes, self._episode = sizes, reward_sizes, 0

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self._x, self._t = self.np_random.uniform(-0.5, 0.5), 0
    self._episode += 1
    return self._observation(0.0), {}

  def step(self, action):
    assert self.action_space.contains(action)
    u, self._t = action.item(), self._t + 1
    if self._t == self._raise_at:
      u / 0
    breaks = self._t == self._nan_reward_at or self._episode == self._nan_in_episode
    reward = float('nan') if breaks else 1 + self._x
    self._x += 0.3 * u
    reward = np.full(self._reward_sizes, reward)
    return self._observation(u), reward, bool(abs(self._x) > 1), False, {}

  def _observation(self, u):
    x = float('inf') if self._t == self._nan_at else self._x
    return np.resize([x, u], self._sizes)


class Spaces(gymnasium.Env):
  """An environment of given spaces, in which nothing happens; `reset` and `step` replace what
  its functions return, or are raised; an `action` that is an exception is raised at once."""

  def __init__(self, observation=Corridor.observation_space, action=Corridor.action_space,
               reset=None, step=None):
    if isinstance(action, Exception):
      raise action
    self.observation_space, self.action_space = observation, action
    self._reset, self._step = reset, step

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    return (self.observation_space.sample(), {}) if self._reset is None else self._reset

  def step(self, action):
    if isinstance(self._step, Exception):
      raise self._step
    if self._step is not None:
      return self._step
    return self.observation_space.sample(), 0.0, False, False, {}


class Fading(Corridor):
  """A talkative corridor that can be drawn until step `dark_at`."""

  metadata = {'render_modes': ['rgb_array'], 'render_fps': 60}

  def __init__(self, render_mode=None, dark_at=None):
    super().__init__()
    self.render_mode, self._dark_at = render_mode, dark_at

  def render(self):
    print('drawing')
    if self._t == self._dark_at:
      raise RuntimeError('nothing to see any more')
    return np.full([16, 16, 3], 20 * self._t, np.uint8)


gymnasium.register('asm_tf_test/Fading-v0', Fading, max_episode_steps=LIMIT)
gymnasium.register('asm_tf_test/Corridor-v0', Corridor, max_episode_steps=LIMIT)
gymnasium.register('asm_tf_test/Spaces-v0', Spaces)
