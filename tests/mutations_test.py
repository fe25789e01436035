"""The table of mutations fits the code and the tests."""

import pathlib
import re

import pytest

from tests.mutations import MUTATIONS
from tests.support.paths import REPOSITORY


@pytest.mark.parametrize('mutation', MUTATIONS, ids=lambda mutation: mutation.what)
def test_a_mutation_names_code_and_a_test_that_are_there(mutation):
  assert (REPOSITORY / 'asm_tf' / mutation.file).read_text().count(mutation.original) == 1
  file, name = mutation.test.split('::')
  source = pathlib.Path(REPOSITORY, 'tests', file).read_text()
  assert re.search(rf'^def {name.split("[")[0]}\(', source, re.MULTILINE)
