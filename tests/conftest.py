"""What several tests share."""

import gin
import pytest

import asm_tf  # noqa: F401, before any test touches tf.keras: it chooses Keras 2
from tests.support.paths import REPOSITORY


@pytest.fixture
def fresh_gin(monkeypatch):
  """An empty configuration before and after the test, which runs in the repository's folder."""
  monkeypatch.chdir(REPOSITORY)
  gin.clear_config()
  yield
  gin.clear_config()
