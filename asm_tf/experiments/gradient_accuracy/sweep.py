"""The grid of Figure 2: model x horizon x seed."""

_MODELS = ('LSTM', 'Transformer', 'StateSpace', 'RNN', 'Markov')

# preset: (models, {horizon: seeds}, model updates)
_PRESETS = {
    'smoke': (('LSTM', 'Markov'), {5: 1}, 50),
    'quick': (_MODELS, {20: 1, 100: 3, 500: 1}, 2_000),
    'paper': (_MODELS, {horizon: 10 for horizon in (5, 20, 50, 100, 200, 500)}, 20_000),
}


def cells(preset):
  """The cells of a preset, short horizons first."""
  models, horizons, num_updates = _PRESETS[preset]
  return [{'model': model, 'horizon': horizon, 'seed': seed, 'num_updates': num_updates}
          for horizon, seeds in horizons.items() for seed in range(seeds) for model in models]
