"""Forecast a noisy sine: one value from the twenty before it, then on from its own forecasts."""

import numpy as np
import rnnfast


def windows(series: np.ndarray, T: int) -> tuple[np.ndarray, np.ndarray]:
    """All pieces of T values, as x (T, B, 1), and the value after each (B, 1)."""
    pieces = np.lib.stride_tricks.sliding_window_view(series, T + 1).T[:, :, None]  # (T+1, B, 1)
    return pieces[:-1], pieces[-1]


def train(model: rnnfast.Sequential, x: np.ndarray, target: np.ndarray, epochs: int) -> None:
    adam = rnnfast.optim.Adam(model.params, lr=1e-2)
    for epoch in range(epochs):
        y, _, pullback = model.vjp(x, return_sequence=False)  # (B, 1): what follows the window
        loss, dy = rnnfast.losses.mse(y, target)
        grads = pullback(dy).params
        rnnfast.optim.clip_by_norm(grads, 1.0)
        adam.step(grads)
        if epoch % 50 == 0:
            print(f"epoch {epoch:3d}  loss {loss:.4f}")


def main() -> float:
    rng = np.random.default_rng(0)
    t = np.arange(600)
    clean = np.sin(2 * np.pi * t / 25)
    series = (clean + 0.1 * rng.standard_normal(t.size)).astype(np.float32)
    x, target = windows(series[:500], T=20)

    model = rnnfast.Sequential(rnnfast.LSTM(1, 24, rng=1), rnnfast.Dense(24, 1, rng=2))
    train(model, x, target, epochs=200)

    history = list(series[480:500])
    for _ in range(50):  # two periods ahead, on its own forecasts
        y, _ = model(np.array(history[-20:], np.float32)[:, None, None], return_sequence=False)
        history.append(float(y[0, 0]))
    error = float(np.sqrt(np.mean((np.array(history[20:]) - clean[500:550]) ** 2)))
    print(f"two periods ahead: RMS error {error:.3f}, of the mean {clean[500:550].std():.3f}")
    return error


if __name__ == "__main__":
    main()
