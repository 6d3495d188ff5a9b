"""Save a training run in the middle, go on from the file, and end with the very same model."""

import tempfile
from pathlib import Path

import numpy as np
import rnnfast
from rnnfast import io


def train(model: rnnfast.Sequential, adam: rnnfast.optim.Adam, epochs: range) -> None:
    """Learn the running sum of the first input; the data of an epoch depends on its number."""
    for epoch in epochs:
        x = np.random.default_rng(epoch).standard_normal((20, 64, 2), dtype=np.float32)
        y, _, pullback = model.vjp(x)
        loss, dy = rnnfast.losses.mse(y, np.cumsum(x[:, :, :1], axis=0))
        adam.step(pullback(dy).params)
        print(f"epoch {epoch}  loss {loss:.3f}")


def main() -> float:
    model = rnnfast.Sequential(rnn=rnnfast.GRU(2, 32, rng=1), out=rnnfast.Dense(32, 1, rng=2))
    adam = rnnfast.optim.Adam(model.params, lr=1e-2)
    train(model, adam, range(10))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"  # or .safetensors
        io.save(path, model=model, adam=adam, epoch=10)
        train(model, adam, range(10, 20))

        # Elsewhere, later: the model, the optimiser that trains it, and the number come back.
        saved = io.load(path)
    train(saved["model"], saved["adam"], range(saved["epoch"], 20))
    difference = max(
        float(np.abs(p - saved["model"].params[name]).max()) for name, p in model.params.items()
    )
    print(f"largest difference from the run without a break: {difference}")
    return difference


if __name__ == "__main__":
    main()
