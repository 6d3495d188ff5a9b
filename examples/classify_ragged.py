"""Classify sequences of different lengths in one batch: does a path turn left, right or neither?"""

import numpy as np
import rnnfast


def paths(n: int, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """n paths of 10 to 40 steps (T_i, 2), and their class: 0 right, 1 neither, 2 left."""
    labels = rng.integers(0, 3, n)
    steps = []
    for label in labels:
        T = int(rng.integers(10, 41))
        heading = rng.uniform(0, 2 * np.pi) + 0.15 * (label - 1) * np.arange(T)
        step = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        steps.append((step + 0.2 * rng.standard_normal((T, 2))).astype(np.float32))
    return steps, labels


def main() -> float:
    rng = np.random.default_rng(0)
    steps, labels = paths(1000, rng)
    model = rnnfast.Sequential(
        rnnfast.GRU(2, 24, bidirectional=True, rng=1),
        rnnfast.Dense(48, 3, rng=2),
    )
    adam = rnnfast.optim.Adam(model.params, lr=1e-2)
    for epoch in range(100):
        for batch in np.array_split(rng.permutation(len(steps)), 20):
            x, lengths = rnnfast.pad([steps[i] for i in batch])  # (T, B, 2), and where each ends
            logits, _, pullback = model.vjp(x, lengths=lengths, return_sequence=False)
            loss, dlogits = rnnfast.losses.cross_entropy(logits, labels[batch])
            grads = pullback(dlogits).params
            rnnfast.optim.clip_by_norm(grads, 1.0)
            adam.step(grads)
        if epoch % 20 == 0:
            print(f"epoch {epoch:3d}  loss {loss:.3f}")

    steps, labels = paths(200, rng)
    x, lengths = rnnfast.pad(steps)
    logits, _ = model(x, lengths=lengths, return_sequence=False)
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    print(f"accuracy on 200 new paths: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
