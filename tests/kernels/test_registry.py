"""The kernels and the reference know the same cells, declared alike."""

from rnnfast import _rnnfast
from rnnfast.reference import CELLS


def test_the_registries_agree() -> None:
    kernels = {cell["name"]: dict(cell) for cell in _rnnfast.cells()}
    reference = {
        cell.name: {
            "name": cell.name,
            "gates": cell.gates,
            "states": cell.states,
            "params": cell.params,
            "stages": len(cell.stages),
        }
        for cell in CELLS.values()
    }
    assert kernels == reference
