"""What several tests share."""

import pathlib

import gin
import pytest


@pytest.fixture
def fresh_gin(monkeypatch):
  """No configuration before or after the test, which runs where the README's commands do."""
  monkeypatch.chdir(pathlib.Path(__file__).parents[1])
  gin.clear_config()
  yield
  gin.clear_config()
