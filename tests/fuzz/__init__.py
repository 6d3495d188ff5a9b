"""Random problems over the whole space of options, in child processes: ``python -m tests.fuzz``."""
