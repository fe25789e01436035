"""The grid of Figure 3: model x horizon x seed."""

from asm_tf.experiments.grid import grid

_MODELS = ('RNN', 'Markov', 'MarkovUnscaled')

_PRESETS: dict[str, list[tuple]] = {
    'smoke': [(_MODELS, 20, 1, 50, 16)],
    'quick': [(_MODELS, 20, 3, 8_000, 64), (_MODELS, 50, 1, 8_000, 64)],
    'paper': [(_MODELS, horizon, 10, 20_000, 64) for horizon in (20, 50, 100)],
}


def cells(preset: str) -> list[dict]:
  """The cells of a preset, short horizons first."""
  return grid(*_PRESETS[preset])
