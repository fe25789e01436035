"""What several tests share."""

import gc

import gin
import pytest

import asm_tf  # noqa: F401, before any test touches tf.keras: it chooses Keras 2
from tests.support.paths import REPOSITORY

# Tracing makes millions of objects that live as long as their graph: looking at them all so often
# takes a tenth of the suite's time.
gc.freeze()
gc.set_threshold(200_000, 50, 50)


@pytest.fixture
def fresh_gin(monkeypatch):
  """An empty configuration before and after the test, which runs in the repository's folder."""
  monkeypatch.chdir(REPOSITORY)
  gin.clear_config()
  yield
  gin.clear_config()
