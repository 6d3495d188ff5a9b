"""Take a model trained in PyTorch over, and back: the same names, the same numbers."""

import numpy as np
import rnnfast
import torch


class Tagger(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = torch.nn.Embedding(100, 16)
        self.rnn = torch.nn.LSTM(16, 32, num_layers=2, bidirectional=True, batch_first=True)
        self.out = torch.nn.Linear(64, 5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(self.emb(ids))[0])


def main() -> float:
    torch.manual_seed(0)
    theirs = Tagger()
    ours = rnnfast.Sequential(  # a child for each of theirs, under the same name
        emb=rnnfast.Embedding(100, 16, batch_first=True),
        rnn=rnnfast.LSTM(16, 32, num_layers=2, bidirectional=True, batch_first=True),
        out=rnnfast.Dense(64, 5, batch_first=True),
    )
    ours.load({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})

    ids = np.random.default_rng(0).integers(0, 100, (8, 30))  # (B, T)
    y, _ = ours(ids)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(ids)).numpy()
    difference = float(np.abs(y - expected).max())
    print(f"largest difference of the outputs: {difference:.1e}")

    # and back
    theirs.load_state_dict({name: torch.from_numpy(p) for name, p in ours.params.items()})
    return difference


if __name__ == "__main__":
    main()
