"""A finite-horizon control problem as pure differentiable TensorFlow.

    s_{t+1} = step(s_t, a_t, t),   r_t = reward(s_t, a_t, t),   t = 0 .. H-1

with s_0 given, a_t in [-1, 1]^m, and the return J = sum_t r_t. Every function
takes any leading shape [...]: a batch [B] during a roll-out, a whole sequence
[B, H] when the rewards of a trajectory are summed at once. `t` is an integer
step, a scalar or a tensor that broadcasts against the leading shape.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from asm_tf import memory
from asm_tf.errors import UserError, require_at_least, require_not_negative


class System:
  """Base class; a system sets the class attributes and implements two functions.

  Attributes:
    start: s_0, a sequence of n numbers.
    state_bounds: n pairs (low, high); the state is clipped to them.
    control_bounds: m pairs (low, high); [-1, 1] is rescaled to them.
    duration: the problem's length T in its own unit of time; dt = T / H.
      A system with a fixed dt overrides `dt` instead.
    is_differentiable: `step` and `reward` exist, in TensorFlow.
    has_fixed_length: every episode has H steps.
    time_aware: H belongs to the problem: agents see the step, and nothing after H counts.
    integer_dtype: type that holds every state where they are whole numbers.
  """

  is_differentiable = True
  has_fixed_length = True
  time_aware = True
  integer_dtype: tf.DType | None = None
  start: Sequence[float] = ()
  state_bounds: Sequence[tuple[float, float]] = ()
  control_bounds: Sequence[tuple[float, float]] = ()
  duration: float

  def __init__(self, horizon: int, dtype: tf.DType = tf.float32, process_noise: float = 0.0,
               distractors: int = 0):
    """Builds the system for one horizon.

    Args:
      horizon: H, the number of steps, at least 2.
      dtype: tf.float32 or tf.float64.
      process_noise: standard deviation, in state units, of the Gaussian noise
        that a step adds to each state when it is given `noise`.
      distractors: number of extra state dimensions, standard normal at every
        step, that nothing depends on.

    Raises:
      UserError: for an argument out of range, and for attributes of a class that do not fit.
    """
    require_at_least(2, horizon=horizon)
    require_at_least(0, distractors=distractors)
    require_not_negative(process_noise=process_noise)
    self.horizon = horizon
    self.dtype = tf.as_dtype(dtype)
    self.process_noise = process_noise
    self.distractors = distractors
    self._require_lists()
    memory.require_memory(
        self.dtype.size * horizon * (self.state_size + self.action_size), 'an episode',
        'give a smaller horizon or fewer distractors')
    self._state_low, self._state_high = np.array(self.state_bounds, np.float64).T
    self._control_low, self._control_high = np.array(self.control_bounds, np.float64).T
    self._require_fitting_bounds()

  def _require_lists(self):
    if not np.iterable(self.start):
      raise UserError(f'{self.name}.start is {self.start!r}: give a list of numbers, such as '
                      '(0.5,).')
    for name in ('state_bounds', 'control_bounds'):
      bounds = getattr(self, name)
      pairs = list(bounds) if np.iterable(bounds) else []
      if not pairs or any(np.shape(pair) != (2,) for pair in pairs):
        raise UserError(f'{self.name}.{name} is {bounds}: give a pair (low, high) for each number, '
                        'such as ((-1, 1),).')

  def _require_fitting_bounds(self):
    if len(self.start) != len(self._state_low):
      raise UserError(f'{self.name}.start has {len(self.start)} numbers and state_bounds '
                      f'{len(self._state_low)} pairs: give one pair for each.')
    if not (np.all(self._control_low < self._control_high)
            and np.all(np.isfinite(self._control_high - self._control_low))):
      raise UserError(f'{self.name}.control_bounds are {self.control_bounds}: give pairs '
                      '(low, high) of finite numbers, the lower number first.')
    if not np.all((self._state_low <= self.start) & (self.start <= self._state_high)):
      raise UserError(f'{self.name}.start is {self.start}, outside its state_bounds '
                      f'{self.state_bounds}: an episode begins within them.')

  @property
  def name(self) -> str:
    """Name of the class, under which optima are stored."""
    return type(self).__name__

  @property
  def state_size(self) -> int:
    """n, the distractors included."""
    return len(self.start) + self.distractors

  @property
  def action_size(self) -> int:
    """m."""
    return len(self.control_bounds)

  @property
  def dt(self) -> float:
    """Length of one step in the system's unit of time."""
    return self.duration / self.horizon

  @property
  def is_stochastic(self) -> bool:
    """Whether steps draw random numbers."""
    return self.process_noise > 0 or self.distractors > 0

  @property
  def state_low(self) -> np.ndarray:
    """[n] lower bounds, -inf where there is none."""
    return np.concatenate([self._state_low, np.full(self.distractors, -np.inf)])

  @property
  def state_high(self) -> np.ndarray:
    """[n] upper bounds, inf where there is none."""
    return np.concatenate([self._state_high, np.full(self.distractors, np.inf)])

  def initial_state(self, batch_size: tf.Tensor | int) -> tf.Tensor:
    """s_0, [batch_size, n]; the distractors start at 0."""
    start = np.concatenate([self.start, np.zeros(self.distractors)])
    return tf.tile(tf.constant(start, self.dtype)[None], [batch_size, 1])

  def step(self, state: tf.Tensor, action: tf.Tensor, t: tf.Tensor | int,
           noise: tf.Tensor | None = None) -> tf.Tensor:
    """One step of the dynamics.

    Args:
      state: [..., n].
      action: [..., m] in [-1, 1].
      t: integer step, broadcastable to [...].
      noise: [..., n] standard normal draws, or None for the noiseless step.

    Returns:
      [..., n], the next state.
    """
    core, distractors = self._split(state)
    core = self._transition(core, action, t)
    if noise is not None:
      core_noise, distractors = self._split(noise)
      core += self.process_noise * core_noise
    low, high = self._constant(self._state_low), self._constant(self._state_high)
    return tf.concat([tf.clip_by_value(core, low, high), distractors], -1)

  def reward(self, state: tf.Tensor, action: tf.Tensor, t: tf.Tensor | int) -> tf.Tensor:
    """r_t, [...], of being in `state` [..., n] at t and taking `action` [..., m]."""
    return self._reward(self._split(state)[0], action, t)

  def control(self, action: tf.Tensor) -> tf.Tensor:
    """The action [..., m] in [-1, 1], rescaled to the control's bounds."""
    low, high = self._constant(self._control_low), self._constant(self._control_high)
    return low + (action + 1) / 2 * (high - low)

  def _transition(self, state, action, t):
    """The next state before clipping; `state` holds no distractors."""
    raise NotImplementedError

  def _reward(self, state, action, t):
    raise NotImplementedError

  def _split(self, state):
    size = len(self.start)
    return state[..., :size], state[..., size:]

  def _constant(self, value):
    return tf.constant(value, self.dtype)
