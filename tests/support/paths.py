"""Where the tests find the repository."""

import pathlib

REPOSITORY = pathlib.Path(__file__).parents[2]
