"""What several tests share."""

import gc
import os

import gin
import pytest

from tests.support.paths import REPOSITORY

# The user's own compiled programs are no test's to read, trim or add to.
os.environ['XDG_CACHE_HOME'] = str(REPOSITORY / '.pytest_cache')

import asm_tf  # noqa: E402, F401, before any test touches tf.keras: it chooses Keras 2

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
