"""The process that forks for the tests of this folder that kill a task."""

from tests.faults.small_process import small_process

__all__ = ["small_process"]
