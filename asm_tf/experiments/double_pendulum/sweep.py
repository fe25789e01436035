"""The grid of Figure 5: model x horizon x seed. The simulator is a model that needs no fit."""

from asm_tf.experiments.grid import grid

_MODELS = ('Simulator', 'Markov', 'MarkovUnscaled', 'LSTM', 'Transformer')
_FEWER = ('Simulator', 'Markov', 'MarkovUnscaled', 'Transformer')
_HORIZONS = (5, 20, 50, 100)

_PRESETS: dict[str, list[tuple]] = {
    'smoke': [(('Simulator', 'Markov'), 5, 1, 50, 16)],
    'quick': [(_FEWER, horizon, 1, 2_000, 64) for horizon in _HORIZONS],
    'paper': [(_MODELS, horizon, 10, 20_000, 64) for horizon in _HORIZONS],
}


def cells(preset: str) -> list[dict]:
  """The cells of a preset, short horizons first."""
  return grid(*_PRESETS[preset])
