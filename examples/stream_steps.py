"""One step at a time: filter a signal as it arrives, interrupt, and go on from the saved state."""

import time

import numpy as np
import rnnfast


def main() -> float:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((2000, 1, 1), dtype=np.float32)  # (T, B, I)
    lstm = rnnfast.LSTM(1, 16, rng=1)

    stream = lstm.stream(batch=1)  # a snapshot of the weights, with the state of one sequence
    filtered = np.empty((2000, 1, 16), np.float32)
    start = time.perf_counter()
    for t in range(1000):
        stream.step(signal[t], out=filtered[t])
    print(f"{(time.perf_counter() - start) * 1e3:.1f} us a step")

    # Elsewhere, later: the state is plain arrays, and a run over the rest starts from it.
    filtered[1000:], _ = lstm(signal[1000:], stream.state)

    whole, _ = lstm(signal)
    difference = float(np.abs(filtered - whole).max())
    print(f"largest difference from one run over everything: {difference:.1e}")

    stream.reset()  # the next sequence starts from zero
    np.testing.assert_allclose(stream.step(signal[0]), whole[0], atol=1e-6)
    return difference


if __name__ == "__main__":
    main()
