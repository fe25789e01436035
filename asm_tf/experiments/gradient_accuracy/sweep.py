"""The grid of Figure 2: model x horizon x seed."""

_MODELS = ('LSTM', 'Transformer', 'StateSpace', 'RNN', 'Markov')
_BEST = ('LSTM', 'Transformer', 'Markov')

# preset: blocks of (models, horizon, seeds, model updates)
_PRESETS = {
    'smoke': [(('LSTM', 'Markov'), 5, 1, 50)],
    'quick': [(_MODELS, 20, 1, 2_000), (_MODELS, 100, 1, 2_000), (_BEST, 100, 3, 2_000),
              (_BEST, 500, 1, 1_000)],
    'paper': [(_MODELS, horizon, 10, 20_000) for horizon in (5, 20, 50, 100, 200, 500)],
}


def cells(preset):
  """The cells of a preset, short horizons first."""
  grid = dict.fromkeys(
      (model, horizon, seed, num_updates) for models, horizon, seeds, num_updates
      in _PRESETS[preset] for seed in range(seeds) for model in models)
  return [dict(zip(('model', 'horizon', 'seed', 'num_updates'), cell)) for cell in grid]
