"""Layers: one protocol for recurrent and other layers, and containers of them."""

from .base import Call, Layer, Module
from .cells import GRU, LSTM, RNN
from .container import Group
from .dense import Dense
from .dropout import Dropout
from .embedding import Embedding
from .pullback import Gradients, Pullback
from .recurrent import Recurrent
from .sequential import Sequential
from .stream import Stream

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Call",
    "Dense",
    "Dropout",
    "Embedding",
    "Gradients",
    "Group",
    "Layer",
    "Module",
    "Pullback",
    "Recurrent",
    "Sequential",
    "Stream",
]
