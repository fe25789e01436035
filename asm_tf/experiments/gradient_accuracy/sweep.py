"""The grid of Figure 2: model x horizon x seed."""

from asm_tf.experiments.grid import grid

_MODELS = ('LSTM', 'Transformer', 'StateSpace', 'RNN', 'Markov', 'MarkovUnscaled')
_FASTER = tuple(model for model in _MODELS if model != 'Transformer')

_PRESETS: dict[str, list[tuple]] = {
    'smoke': [(('LSTM', 'Markov'), 5, 1, 50, 16)],
    'quick': [(_MODELS, 20, 1, 2_000, 64), (_MODELS, 100, 3, 2_000, 64),
              (_FASTER, 500, 5, 2_000, 16),
              (('Transformer',), 500, 5, 2_000, 8)],
    'paper': [(_MODELS, horizon, 10, 20_000, 64) for horizon in (5, 20, 50, 100, 200, 500)],
}


def cells(preset: str) -> list[dict]:
  """The cells of a preset, short horizons first."""
  return grid(*_PRESETS[preset])
