"""Layers: one protocol for recurrent and other layers, and for chains of them."""

from .base import Layer, Pullback
from .cells import GRU, LSTM, RNN
from .dense import Dense
from .dropout import Dropout
from .embedding import Embedding
from .recurrent import Recurrent
from .sequential import Sequential
from .stream import Stream

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Dense",
    "Dropout",
    "Embedding",
    "Layer",
    "Pullback",
    "Recurrent",
    "Sequential",
    "Stream",
]
