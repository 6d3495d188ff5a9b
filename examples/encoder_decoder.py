"""Many-to-many of different length: ``two hundred seven`` becomes ``207``.

An encoder reads the words of a number, a decoder writes its digits.
"""

import numpy as np
import rnnfast
from rnnfast import losses

SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORDS = [*SMALL, *TENS, "hundred", "thousand"]
END = 10  # after the digits 0 to 9: ends what is written, and starts it


def in_words(n: int) -> list[str]:
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if n >= size:
            return [*in_words(n // size), name, *(in_words(n % size) if n % size else [])]
    return [SMALL[n]] if n < 20 else [TENS[n // 10 - 2], *(in_words(n % 10) if n % 10 else [])]


def encode(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the words (T_x, B), padded with 0, and how many each number has (B,)."""
    return rnnfast.pad([[WORDS.index(word) for word in in_words(int(n))] for n in numbers])


def digits(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The digits (T_y, B), each number ended by END, and how many steps that takes (B,)."""
    return rnnfast.pad([[*map(int, str(n)), END] for n in numbers])


def make_model(rng: np.random.Generator) -> rnnfast.Group:
    return rnnfast.Group(
        encoder=rnnfast.Sequential(
            emb=rnnfast.Embedding(len(WORDS), 16, rng=rng),
            rnn=rnnfast.GRU(16, 64, rng=rng),
        ),
        decoder=rnnfast.Sequential(
            emb=rnnfast.Embedding(END + 1, 16, rng=rng),
            rnn=rnnfast.GRU(16, 64, rng=rng),
            out=rnnfast.Dense(64, END + 1, rng=rng),
        ),
    )


def gradients(model: rnnfast.Group, numbers: np.ndarray) -> tuple[float, dict]:
    """The loss of a batch, the decoder being told the digits before each, and its gradients."""
    x, x_lengths = encode(numbers)
    y, y_lengths = digits(numbers)
    told = np.concatenate([np.full((1, y.shape[1]), END), y[:-1]])
    _, (_, a), back_to_words = model["encoder"].vjp(x, lengths=x_lengths)
    logits, _, back_to_start = model["decoder"].vjp(told, (None, a, None), y_lengths)
    loss, dlogits = losses.cross_entropy(logits, y, lengths=y_lengths)
    decoder = back_to_start(dlogits)
    encoder = back_to_words(dstate=(None, decoder.state[1]))  # the state is all they share
    return loss, {"encoder": encoder.params, "decoder": decoder.params}


def write(model: rnnfast.Group, numbers: np.ndarray) -> list[str]:
    """What the model makes of the words: the likeliest digit each time."""
    x, lengths = encode(numbers)
    _, (_, a) = model["encoder"](x, lengths=lengths)
    stream = model["decoder"].stream(batch=len(numbers))
    stream.state = (None, a, None)
    written, told = [""] * len(numbers), np.full(len(numbers), END)
    ended = np.zeros(len(numbers), bool)
    while not ended.all() and len(written[0]) < 6:
        told = stream.step(told).argmax(axis=1)
        ended |= told == END
        written = [w if e else f"{w}{d}" for w, e, d in zip(written, ended, told, strict=True)]
    return written


def main() -> float:
    rng = np.random.default_rng(0)
    numbers = rng.permutation(10_000)
    known, new = numbers[:5000], numbers[-500:]
    model = make_model(rng)
    adam = rnnfast.optim.Adam(model.params, lr=1e-2)
    learning_rate = rnnfast.schedules.cosine(1e-2, steps=500)
    for step in range(500):
        adam.lr = learning_rate(step)
        loss, grads = gradients(model, rng.choice(known, 64))
        adam.step(grads)
        if step % 100 == 0:
            print(f"step {step:3d}  loss {loss:.3f}")
    right = [w == str(n) for w, n in zip(write(model, new), new, strict=True)]
    print(f"new numbers written without a mistake: {np.mean(right):.3f}")
    return float(np.mean(right))


if __name__ == "__main__":
    main()
