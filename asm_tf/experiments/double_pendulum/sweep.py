"""The grid of Figure 5: model x horizon x seed. The simulator is a model that needs no fit."""

_MODELS = ('Simulator', 'Markov', 'LSTM', 'Transformer')

# preset: (models, {horizon: seeds}, model updates)
_PRESETS = {
    'smoke': (('Simulator', 'Markov'), {5: 1}, 50),
    'quick': (_MODELS, {5: 1, 20: 1, 50: 1, 100: 1}, 2_000),
    'paper': (_MODELS, {horizon: 10 for horizon in (5, 20, 50, 100)}, 20_000),
}


def cells(preset):
  """The cells of a preset, short horizons first."""
  models, horizons, num_updates = _PRESETS[preset]
  return [{'model': model, 'horizon': horizon, 'seed': seed, 'num_updates': num_updates}
          for horizon, seeds in horizons.items() for seed in range(seeds) for model in models]
