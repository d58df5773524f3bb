"""The smallest run that goes through everything, for tests that start processes."""

from test_training import tiny


def get_config():
    return tiny()
