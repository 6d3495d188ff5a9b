"""Forecast a noisy sine from the values before; stop early, with the best model there was."""

import numpy as np
import rnnfast
from rnnfast import schedules


def windows(series: np.ndarray, T: int) -> tuple[np.ndarray, np.ndarray]:
    """All pieces of T values, as x (T, B, 1), and the value after each (B, 1)."""
    pieces = np.lib.stride_tricks.sliding_window_view(series, T + 1).T[:, :, None]  # (T+1, B, 1)
    return pieces[:-1], pieces[-1]


def loss_of(model: rnnfast.Sequential, x: np.ndarray, target: np.ndarray) -> float:
    y, _ = model(x, return_sequence=False)
    return rnnfast.losses.mse(y, target)[0]


def train(model: rnnfast.Sequential, series: np.ndarray, patience: int) -> None:
    """Train until the validation loss has not fallen for `patience` epochs."""
    x, target = windows(series[:400], T=20)
    x_valid, target_valid = windows(series[400:], T=20)
    adam = rnnfast.optim.Adam(model.params)
    learning_rate = schedules.warmup(schedules.constant(2e-2), steps=10)
    best, best_params, best_epoch = np.inf, model.params.copy(), 0
    for epoch in range(300):
        adam.lr = learning_rate(epoch)
        y, _, pullback = model.vjp(x, return_sequence=False)  # (B, 1): what follows each window
        loss, dy = rnnfast.losses.mse(y, target)
        grads = pullback(dy).params
        rnnfast.optim.clip_by_norm(grads, 1.0)
        adam.step(grads)
        valid = loss_of(model, x_valid, target_valid)
        if valid < best:
            best, best_params, best_epoch = valid, model.params.copy(), epoch
        elif epoch - best_epoch >= patience:
            break
        if epoch % 20 == 0:
            print(f"epoch {epoch:3d}  loss {loss:.4f}  validation {valid:.4f}")
    model.load(best_params)
    print(f"best after epoch {best_epoch}: validation {best:.4f}")


def main() -> float:
    rng = np.random.default_rng(0)
    t = np.arange(600)
    clean = np.sin(2 * np.pi * t / 25)
    series = (clean + 0.1 * rng.standard_normal(t.size)).astype(np.float32)
    model = rnnfast.Sequential(rnn=rnnfast.LSTM(1, 24, rng=rng), out=rnnfast.Dense(24, 1, rng=rng))
    train(model, series[:500], patience=40)

    history = list(series[480:500])
    for _ in range(50):  # two periods ahead, on its own forecasts
        y, _ = model(np.array(history[-20:], np.float32)[:, None, None], return_sequence=False)
        history.append(float(y[0, 0]))
    error = float(np.sqrt(np.mean((np.array(history[20:]) - clean[500:550]) ** 2)))
    print(f"two periods ahead: RMS error {error:.3f}, of the mean {clean[500:550].std():.3f}")
    return error


if __name__ == "__main__":
    main()
