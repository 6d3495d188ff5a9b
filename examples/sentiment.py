"""Many-to-one: is a review good or bad? Sentences of different lengths, padded into one batch."""

import numpy as np
import rnnfast

GOOD, BAD = ["good", "great", "lovely", "fun"], ["bad", "dull", "awful", "boring"]
THINGS = ["film", "book", "plot", "ending", "cast", "music"]


def review(rng: np.random.Generator) -> tuple[str, int]:
    """A sentence, whose last clause decides, and whether it is a good one."""
    clauses, good = [], 0
    for _ in range(rng.integers(1, 5)):
        opinion, denied = rng.integers(2), rng.integers(2)
        word = rng.choice(GOOD if opinion else BAD)
        clauses.append(f"the {rng.choice(THINGS)} is {'not ' if denied else ''}{word}")
        good = int(opinion != denied)
    return " but ".join(clauses), good


def encode(texts: list[str], vocabulary: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the words (T, B), padded with 0, and the length of each sentence (B,)."""
    return rnnfast.pad([[vocabulary[word] for word in text.split()] for text in texts])


def main() -> float:
    rng = np.random.default_rng(0)
    reviews = [review(rng) for _ in range(1200)]
    texts, labels = [text for text, _ in reviews], np.array([good for _, good in reviews])
    vocabulary = {word: i for i, word in enumerate(sorted(set(" ".join(texts).split())))}

    model = rnnfast.Sequential(
        emb=rnnfast.Embedding(len(vocabulary), 8, rng=rng),
        rnn=rnnfast.LSTM(8, 16, rng=rng),
        out=rnnfast.Dense(16, 2, rng=rng),
    )
    adam = rnnfast.optim.Adam(model.params, lr=1e-2)
    for epoch in range(5):
        for batch in np.array_split(rng.permutation(1000), 20):
            ids, lengths = encode([texts[i] for i in batch], vocabulary)
            logits, _, pullback = model.vjp(ids, lengths=lengths, return_sequence=False)
            loss, dlogits = rnnfast.losses.cross_entropy(logits, labels[batch])
            adam.step(pullback(dlogits).params)
        print(f"epoch {epoch}  loss {loss:.3f}")

    ids, lengths = encode(texts[1000:], vocabulary)  # never trained on
    logits, _ = model(ids, lengths=lengths, return_sequence=False)
    accuracy = float((logits.argmax(axis=1) == labels[1000:]).mean())
    print(f"accuracy on 200 new reviews: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
