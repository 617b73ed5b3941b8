"""The permutation test of a fit: which one, drawn once, and what its permutations of a tile of voxels amount to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cinebold.design.run_design import RunDesign
from cinebold.encoding import significance
from cinebold.encoding.block_permutation import BlockTest, draw_blocks, permute_blocks
from cinebold.encoding.rows import Rows
from cinebold.encoding.settings import EncodingSettings

#: Shorter blocks reject too often where film and noise are slow (`block_permutation.BlockTest`).
LEAST_BLOCK_VOLUMES = 20


@dataclass(frozen=True)
class PermutationTest:
    """Circular shifts or permuted blocks of the held-out predictions, of the runs that are predicted."""

    test: significance.ShiftTest | BlockTest
    runs: tuple[int, ...]  #: those with held-out predictions
    device: str = "cpu"  #: or "cuda[:N]"

    def permute(
        self, rows: Rows, scored: np.ndarray, responses: np.ndarray, predictions: np.ndarray, r: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How many permutations reach each target's held-out r, and the largest permuted r of all targets.

        Parameters
        ----------
        scored : (n_rows,) bool, rows that are held out by a fold
        responses, predictions : (n_rows, n_targets)
        r : (n_targets,) held-out r; a block test has its own, over the volumes that are in blocks
        """
        own = [rows.run == run for run in self.runs]
        y, guess, kept = ([values[mask] for mask in own] for values in (responses, predictions, scored))
        blocks, shifts = permute_blocks, significance.permute_shifts
        if self.device != "cpu":
            from cinebold.encoding.gpu import permutation as on_device

            blocks = partial(on_device.permute_blocks, device=self.device)
            shifts = partial(on_device.permute_shifts, device=self.device)
        if isinstance(self.test, BlockTest):
            permuted = blocks(self.test, y, guess, kept)
            return permuted.n_at_least, permuted.maxima
        return shifts(self.test, r, y, guess, kept)

    @property
    def coupling(self) -> float:
        """What permuted r are multiplied by."""
        return self.test.coupling


def draw_test(
    settings: EncodingSettings,
    rows: Rows,
    designs: Sequence[RunDesign],
    predicted: np.ndarray,
    device: str = "cpu",
) -> tuple[PermutationTest | None, list[str]]:
    """The test that the settings ask for, drawn from the seed before any response is looked at, and warnings.

    Folds that learn from each other's rows are coupled (`significance.ShiftTest`); the runs that a split tests
    are predicted by what was learned elsewhere, and their predictions are independent of their noise. Where a row is
    the response to a whole clip, clips come in an order of their own in every run and a block is one of them.

    Parameters
    ----------
    predicted : (n_rows,) bool, rows that are held out by a fold
    device : where permutations are counted; they are drawn on the CPU
    """
    if not settings.n_permutations:
        return None, []
    coupled = settings.cross_validation.scheme != "split"
    coupling = significance.LEAVE_ONE_OUT_COUPLING if coupled else 1.0
    runs = tuple(int(run) for run in np.unique(rows.run[predicted]))
    lengths = [designs[run].n_volumes for run in runs]
    tr_s = designs[0].tr_s
    if settings.permutation_scheme == "block":
        slow = max(int(np.ceil(settings.block_s / tr_s)), LEAST_BLOCK_VOLUMES)
        least = 1 if _rows_are_clips(designs) else slow
        blocks, warnings = draw_blocks(lengths, least, settings.n_permutations, settings.seed, coupling)
        return PermutationTest(blocks, runs, device), warnings
    minimum = int(np.ceil(settings.minimum_shift_s / tr_s))
    shifts, warnings = significance.draw_shifts(lengths, minimum, settings.n_permutations, settings.seed)
    return PermutationTest(significance.ShiftTest(shifts, coupling), runs, device), warnings


def _rows_are_clips(designs: Sequence[RunDesign]) -> bool:
    """Whether every film is shown in one row of a run at a time: a response a clip, not a volume."""
    films = [design.film_of_volume for design in designs]
    return all(((shown[1:] != shown[:-1]) | (shown[1:] < 0)).all() for shown in films)
