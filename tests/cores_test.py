"""How many cores a process may use."""

import pytest

from asm_tf.cores import usable_cores


@pytest.mark.parametrize(('limit', 'most'), [('1', 1), (' 1 ', 1)])
def test_tensorflows_threads_are_a_limit(limit, most, monkeypatch):
  monkeypatch.setenv('TF_NUM_INTRAOP_THREADS', limit)
  assert usable_cores() == most


@pytest.mark.parametrize('limit', ['', '0', 'auto', '-1', '1000000'])
def test_what_is_no_limit_is_none(limit, monkeypatch):
  monkeypatch.delenv('TF_NUM_INTRAOP_THREADS', raising=False)
  cores = usable_cores()
  monkeypatch.setenv('TF_NUM_INTRAOP_THREADS', limit)
  assert usable_cores() == cores >= 1
