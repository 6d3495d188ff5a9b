"""rnnfast's threads under threadpoolctl: importing this module makes it know them.

>>> import rnnfast.threadpool
>>> with threadpoolctl.threadpool_limits(1):  # BLAS, OpenMP and rnnfast
...     y, state = layer(x)

``user_api="rnnfast"`` limits rnnfast alone. Needs threadpoolctl 3.2 or later.
"""

from __future__ import annotations

from ._optional import require
from ._version import __version__
from .config import num_threads, set_num_threads

threadpoolctl = require("threadpoolctl", "threads", "rnnfast.threadpool")

__all__ = ["Controller"]


class Controller(threadpoolctl.LibController):  # type: ignore[misc, name-defined]
    """What threadpoolctl asks and sets."""

    user_api = "rnnfast"
    internal_api = "rnnfast"
    filename_prefixes = ("_rnnfast",)

    def get_num_threads(self) -> int:
        """Return the number of threads that a call may use."""
        return num_threads()

    def set_num_threads(self, num_threads: int) -> None:
        """Set the number of threads that a call may use.

        Parameters
        ----------
        num_threads : int
            At least 1.
        """
        set_num_threads(num_threads)

    def get_version(self) -> str:
        """Return rnnfast's version."""
        return __version__


threadpoolctl.register(Controller)
