"""One-to-many: learn a text letter by letter, with truncated BPTT, then write more of it."""

import numpy as np
import rnnfast

TEXT = """the farmer in the dell, the farmer in the dell, hi ho the derry o, the farmer in the dell.
the farmer takes a wife, the farmer takes a wife, hi ho the derry o, the farmer takes a wife.
the wife takes a child, the wife takes a child, hi ho the derry o, the wife takes a child.
the child takes a dog, the child takes a dog, hi ho the derry o, the child takes a dog.
the dog takes a cat, the dog takes a cat, hi ho the derry o, the dog takes a cat.
"""
LETTERS = sorted(set(TEXT))


def train(model: rnnfast.Sequential, ids: np.ndarray, epochs: int) -> float:
    """Train on ids (T, B), 32 steps at a time; return the last loss per letter."""
    adam = rnnfast.optim.Adam(model.params, lr=5e-3)
    loss = 0.0
    for epoch in range(epochs):
        state = None
        for t in range(0, len(ids) - 1, 32):
            x, target = ids[:-1][t : t + 32], ids[1:][t : t + 32]
            logits, state, pullback = model.vjp(x, state)  # on from where the last piece ended
            loss, dlogits = rnnfast.losses.cross_entropy(logits, target)
            grads = pullback(dlogits).params
            rnnfast.optim.clip_by_norm(grads, 5.0)
            adam.step(grads)
        if epoch % 20 == 0:
            print(f"epoch {epoch:3d}  loss per letter {loss / len(x):.3f}")
    return loss / len(x)


def write(model: rnnfast.Sequential, start: str, n: int, rng: np.random.Generator) -> str:
    """Continue `start` by n letters, each drawn from what the model expects."""
    stream = model.stream()
    text = start
    for letter in start:
        logits = stream.step([LETTERS.index(letter)])
    for _ in range(n):
        p = rnnfast.losses.softmax(logits[0] / 0.5)  # a temperature below 1 is less daring
        i = int(rng.choice(len(LETTERS), p=p / p.sum(dtype=float)))
        text += LETTERS[i]
        logits = stream.step([i])
    return text


def main() -> float:
    rng = np.random.default_rng(0)
    ids = np.array([LETTERS.index(letter) for letter in TEXT])
    ids = ids[: len(ids) // 4 * 4].reshape(4, -1).T  # (T, B): four pieces side by side
    model = rnnfast.Sequential(
        emb=rnnfast.Embedding(len(LETTERS), 16, rng=rng),
        rnn=rnnfast.GRU(16, 64, rng=rng),
        out=rnnfast.Dense(64, len(LETTERS), rng=rng),
    )
    loss = train(model, ids, epochs=100)
    print(write(model, "the ", 200, rng))
    return loss


if __name__ == "__main__":
    main()
