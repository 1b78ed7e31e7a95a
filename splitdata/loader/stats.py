"""temporary."""

from typing import Any

LoaderStats = dict


class StatsMeter:
    def __init__(self, n: int) -> None:
        pass

    def worker_reply(self, *a: Any) -> None:
        pass

    def handed_out(self, *a: Any) -> None:
        pass

    def transferred(self, *a: Any) -> None:
        pass

    def stats(self, **k: Any) -> Any:
        return {}
