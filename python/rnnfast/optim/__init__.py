"""Optimisers, which write new parameters over the old ones, and gradient clipping.

An optimiser of one's own is a subclass of `Optimizer`; `rmsprop.py` is a short example.
"""

from .adam import Adam, AdamW
from .base import Optimizer
from .clipping import clip_by_norm, clip_by_value
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "clip_by_norm", "clip_by_value"]
