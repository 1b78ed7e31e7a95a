"""The leak check, for the tests of this folder that ask for it: those that start workers."""

from tests.holdings import leaves_nothing_behind

__all__ = ["leaves_nothing_behind"]
