"""Classify sequences of different lengths in one batch: does the tone rise, fall or stay?"""

import numpy as np
import rnnfast


def chirps(n: int, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """n tones of 20 to 60 samples, each (T_i, 1), and their class: 0 falls, 1 stays, 2 rises."""
    labels = rng.integers(0, 3, n)
    tones = []
    for label in labels:
        T = int(rng.integers(20, 61))
        frequency = np.linspace(0.12, 0.12 + 0.08 * (label - 1), T)  # cycles a sample
        phase = 2 * np.pi * (np.cumsum(frequency) + rng.random())
        tones.append((np.sin(phase) + 0.1 * rng.standard_normal(T)).astype(np.float32)[:, None])
    return tones, labels


def main() -> float:
    rng = np.random.default_rng(0)
    tones, labels = chirps(400, rng)
    model = rnnfast.Sequential(
        rnnfast.GRU(1, 24, bidirectional=True, rng=1),
        rnnfast.Dense(48, 3, rng=2),
    )
    adam = rnnfast.optim.Adam(model.params, lr=1e-2)
    for epoch in range(30):
        for batch in np.array_split(rng.permutation(len(tones)), 8):
            x, lengths = rnnfast.pad([tones[i] for i in batch])  # (T, B, 1), and where each ends
            logits, _, pullback = model.vjp(x, lengths=lengths, return_sequence=False)
            loss, dlogits = rnnfast.losses.cross_entropy(logits, labels[batch])
            _, _, grads = pullback(dlogits, skip=("x",))
            rnnfast.optim.clip_by_norm(grads, 1.0)
            adam.step(grads)
        if epoch % 5 == 0:
            print(f"epoch {epoch:2d}  loss {loss:.3f}")

    tones, labels = chirps(200, rng)
    x, lengths = rnnfast.pad(tones)
    logits, _ = model(x, lengths=lengths, return_sequence=False)
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    print(f"accuracy on 200 new tones: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
