"""The grid of Figure 3: model x horizon x seed."""

_MODELS = ('RNN', 'Markov')

# preset: (models, {horizon: seeds}, model updates)
_PRESETS = {
    'smoke': (('RNN', 'Markov'), {20: 1}, 50),
    'quick': (_MODELS, {20: 3, 50: 3}, 8_000),
    'paper': (_MODELS, {horizon: 10 for horizon in (20, 50, 100)}, 20_000),
}


def cells(preset):
  """The cells of a preset, short horizons first."""
  models, horizons, num_updates = _PRESETS[preset]
  return [{'model': model, 'horizon': horizon, 'seed': seed, 'num_updates': num_updates}
          for horizon, seeds in horizons.items() for seed in range(seeds) for model in models]
