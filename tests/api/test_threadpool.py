"""threadpoolctl finds rnnfast's threads and limits them."""

from __future__ import annotations

import rnnfast
import rnnfast.threadpool
import threadpoolctl


def found() -> list[dict[str, object]]:
    return [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "rnnfast"]


def test_info() -> None:
    (pool,) = found()
    assert pool["num_threads"] == rnnfast.num_threads()
    assert pool["version"] == rnnfast.__version__
    assert "_rnnfast" in str(pool["filepath"])


def test_limits() -> None:
    with rnnfast.threads(3):
        with threadpoolctl.threadpool_limits(1):
            assert rnnfast.num_threads() == 1
            assert found()[0]["num_threads"] == 1
        assert rnnfast.num_threads() == 3
        with threadpoolctl.threadpool_limits(2, user_api="rnnfast"):
            assert rnnfast.num_threads() == 2
        with threadpoolctl.threadpool_limits(2, user_api="blas"):
            assert rnnfast.num_threads() == 3
        assert rnnfast.num_threads() == 3
