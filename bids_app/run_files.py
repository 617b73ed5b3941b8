"""From a preprocessed BOLD image to its run: mask, confounds, grey matter, times and showings."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_app.beta_files import betas_of_run
from bids_app.confounds_files import file_of_run
from bids_app.layouts import IMAGE_EXTENSIONS, BidsFile, inherited, only, run_label
from bids_app.showings import Showings
from bids_app.sidecars import ImageHeader, check_content, read_header, read_sidecar, read_timing
from bids_app.surface_files import SeriesParts, is_surface_series, surface_parts
from cinebold.errors import InputError
from workflows.specifications import Run

_AFFINE_TOLERANCE_MM = 1e-3
_FMRIPREP_REMEDY = "get the file, or run fMRIPrep again"


def is_preprocessed_bold(file: BidsFile) -> bool:
    """Whether this is a preprocessed series of a whole run, whatever its space.

    Single echoes and phase images are not, nor what ICA-AROMA has smoothed (another `desc`).
    """
    return is_surface_series(file) or (
        file.suffix == "bold"
        and file.extension in IMAGE_EXTENSIONS
        and file.has(desc="preproc", echo=None, part=None, hemi=None, den=None)
    )


@dataclass(frozen=True)
class RunSource:
    """Where the parts of a participant's runs are looked for."""

    fmriprep_dir: Path
    derived: tuple[BidsFile, ...]
    showings: Showings
    needs_grey_matter: bool
    extra_confounds: str | None = None  #: a pattern, see `file_of_run`
    betas: str | None = None  #: a pattern; responses of clips that were made elsewhere

    def run(self, bold: BidsFile) -> tuple[Run, tuple[str, ...]]:
        """The run of a preprocessed BOLD image, of two hemispheres given one of them, and warnings.

        Raises
        ------
        InputError : what is missing or wrong, the first thing found.
        """
        betas = None if self.betas is None else betas_of_run(self.betas, bold, self.showings)
        shown = self.showings.of_run(bold) if betas is None else betas.shown
        parts = surface_parts(bold, self.derived) if is_surface_series(bold) else self._volume_parts(bold)
        if parts.n_volumes < 2:
            raise InputError(
                f"{bold.path} must be a series of volumes, but it has one only; get or write the file again."
            )
        confounds = self._confounds(bold)
        extra = (
            None
            if self.extra_confounds is None
            else file_of_run(self.extra_confounds, bold.run_entities, "--extra-confounds")
        )
        folder = self.showings.raw_folder(bold)
        raw_jsons = [
            file for file in self.showings.raw if file.suffix == "bold" and file.extension == ".json"
        ]
        timing = read_timing(
            bold.path,
            parts.header,
            read_sidecar(self.derived, bold.entities, bold.path.parent, "bold"),
            # fMRIPrep merges echoes and parts, which share their times.
            read_sidecar([_without_echo(file) for file in raw_jsons], bold.run_entities, folder, "bold"),
        )
        own_json = inherited(self.derived, bold.entities, bold.path.parent, "bold", ".json")
        # Confounds stand behind the BOLD and its mask.
        inputs = (*parts.inputs[:2], confounds, *parts.inputs[2:])
        raw_inputs = [] if shown.events is None else [shown.events]
        raw_inputs += [Path(presentation.film) for presentation in shown.presentations]
        raw_inputs += [] if extra is None else [extra]
        raw_inputs += [] if betas is None else [betas.path]
        run = Run(
            label=run_label(bold),
            entities={
                **bold.run_entities,
                **{key: bold.entities[key] for key in parts.named_by if key in bold.entities},
            },
            confounds=str(confounds.path),
            tr_s=timing.tr_s,
            n_volumes=parts.n_volumes,
            shape=parts.shape,
            presentations=shown.presentations,
            start_time_s=timing.start_time_s,
            slice_timing_corrected=timing.slice_timing_corrected,
            bold_json=str(own_json[-1].path) if own_json else None,
            events=None if shown.events is None else str(shown.events),
            extra_confounds=None if extra is None else str(extra),
            other_events_s=shown.other_events_s,
            betas=None if betas is None else str(betas.path),
            beta_rows=() if betas is None else betas.rows,
            sources=(
                *_bids_uris("fmriprep", self.fmriprep_dir, [file.path for file in inputs]),
                *_bids_uris("raw", self.showings.bids_dir, raw_inputs),
            ),
            **({"bold": str(bold.path), "brain_mask": None} | parts.of_run),
        )
        return run, (*shown.warnings, *timing.warnings)

    def _volume_parts(self, bold: BidsFile) -> SeriesParts:
        """The image with its brain mask and, where it is needed, the grey matter map."""
        header = read_header(bold.path)
        if len(header.shape) != 4 or header.shape[3] < 2:
            raise InputError(
                f"{bold.path} must be a series of volumes (4-D), but its shape is {header.shape}; "
                "get or write the file again."
            )
        mask = self._brain_mask(bold, header)
        grey_matter = self._grey_matter(bold) if self.needs_grey_matter else None
        return SeriesParts(
            header,
            header.shape[3],
            header.shape[:3],
            (bold, mask) if grey_matter is None else (bold, mask, grey_matter),
            {
                "brain_mask": str(mask.path),
                "gm_probseg": None if grey_matter is None else str(grey_matter.path),
            },
            named_by=("res",),
        )

    def _of_same_run(self, bold: BidsFile, extensions: tuple[str, ...]) -> list[BidsFile]:
        return [
            file for file in self.derived if file.run_key == bold.run_key and file.extension in extensions
        ]

    def _brain_mask(self, bold: BidsFile, header: ImageHeader) -> BidsFile:
        """The run's brain mask, which must be on the grid of its BOLD."""
        version = {key: bold.entities.get(key) for key in ("space", "cohort", "res")}
        candidates = [
            file
            for file in self._of_same_run(bold, IMAGE_EXTENSIONS)
            if file.suffix == "mask" and file.has(desc="brain", echo=None, part=None, **version)
        ]
        mask = only(candidates, f"brain mask (desc-brain_mask) for {bold.path.name}", _FMRIPREP_REMEDY)
        found = read_header(mask.path)
        if found.shape != header.shape[:3]:
            raise InputError(
                f"the brain mask {mask.path} has the shape {found.shape}, but its BOLD image "
                f"{bold.path.name} has {header.shape[:3]}; both must be on one grid, as fMRIPrep writes them."
            )
        if not np.allclose(found.affine, header.affine, rtol=0, atol=_AFFINE_TOLERANCE_MM):
            raise InputError(
                f"the brain mask {mask.path} has the shape of its BOLD image {bold.path.name} but another "
                "affine; both must be on one grid, as fMRIPrep writes them."
            )
        return mask

    def _confounds(self, bold: BidsFile) -> BidsFile:
        """The run's confounds table; `_regressors` is its name before fMRIPrep 20.2."""
        candidates = [
            file
            for file in self._of_same_run(bold, (".tsv",))
            if file.suffix in ("timeseries", "regressors") and file.has(desc="confounds", echo=None)
        ]
        confounds = only(candidates, "confounds table (desc-confounds_timeseries.tsv)", _FMRIPREP_REMEDY)
        check_content(confounds.path)
        return confounds

    def _grey_matter(self, bold: BidsFile) -> BidsFile:
        """The grey matter map in the space of the BOLD.

        Anatomical derivatives lie in the participant's folder or in that of one session, on the grid of the
        BOLD or on their own; the closest is taken.
        """
        space = bold.entities.get("space")
        found = [
            file
            for file in self.derived
            if file.suffix == "probseg"
            and file.extension in IMAGE_EXTENSIONS
            and file.path.parent.name == "anat"
            and space is not None
            and file.has(
                label="GM", space=None if space == "T1w" else space, cohort=bold.entities.get("cohort")
            )
        ]
        same_session = [file for file in found if file.has(ses=bold.entities.get("ses"))]
        found = same_session or [file for file in found if file.has(ses=None)] or found
        found = [file for file in found if file.has(res=bold.entities.get("res"))] or found
        grey_matter = only(
            found,
            f"grey matter map (label-GM_probseg) in the space {space or 'of the BOLD itself'}",
            "use `--mask brain` or `--mask FILE`, which need none",
        )
        check_content(grey_matter.path)
        return grey_matter


def _without_echo(file: BidsFile) -> BidsFile:
    entities = {key: value for key, value in file.entities.items() if key not in ("echo", "part")}
    return BidsFile(file.path, entities, file.suffix, file.extension)


def _bids_uris(dataset: str, root: Path, paths: Iterable[Path]) -> list[str]:
    """BIDS URIs of the files in a dataset, each once; a film from elsewhere has none."""
    inside = dict.fromkeys(path for path in paths if path.is_relative_to(root))
    return [f"bids:{dataset}:{path.relative_to(root).as_posix()}" for path in inside]
