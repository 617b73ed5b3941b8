"""`cinebold-features`: what extractors there are, their weights, and the features of one film without a dataset."""

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cinebold.features.registry import Extractor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 (no download), 2 (usage) or 16 (a film that cannot be used)."""
    options = _parser().parse_args(arguments)

    from cinebold.errors import CineboldError, InputError, SettingError

    try:
        return options.command(options)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except CineboldError as error:
        code = 2 if isinstance(error, SettingError) else 16 if isinstance(error, InputError) else 1
        return _say(str(error), code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cinebold-features",
        description="Feature extractors: what there is, their weights, and the features of a single film.",
        epilog="Exit codes: 0 done; 1 a download failed; 2 usage; 16 the film or a file cannot be used.",
    )
    commands = parser.add_subparsers(required=True, metavar="list|fetch|extract|fit-basis")

    listed = commands.add_parser("list", help="extractors, layers, windows, and whether weights are here")
    listed.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here too")
    listed.add_argument("--json", action="store_true", help="for programs")
    listed.set_defaults(command=_list)

    fetched = commands.add_parser("fetch", help="download weights (needs a network)")
    fetched.add_argument("extractors", nargs="+", metavar="EXTRACTOR[:CHECKPOINT]",
                         help="with the name of another checkpoint on the Hugging Face hub than the default one, "
                         "e.g. clip:openai/clip-vit-large-patch14")  # fmt: skip
    fetched.add_argument("--weights-dir", type=Path, required=True, metavar="DIR", help="where files are put")
    fetched.set_defaults(command=_fetch)

    extracted = commands.add_parser("extract", help="the features of one film, as an HDF5 file")
    extracted.add_argument("film", type=Path, metavar="FILM")
    extracted.add_argument("--out", type=Path, required=True, metavar="FILE.h5")
    extracted.add_argument("--basis", type=Path, metavar="FILE.safetensors",
                           help="reduce the windows of a network by this basis")  # fmt: skip
    _add_extractor_options(extracted)
    extracted.set_defaults(command=_extract)

    fitted = commands.add_parser(
        "fit-basis", help="principal components of a network's windows on training films"
    )
    fitted.add_argument(
        "--films", type=Path, nargs="+", required=True, metavar="FILM", help="films to learn from"
    )
    fitted.add_argument("--n-components", type=int, required=True, metavar="K")
    fitted.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    fitted.add_argument("--mem-mb", type=float, default=4096, metavar="MB",
                        help="most that the fit may take beside the network (default 4096)")  # fmt: skip
    _add_extractor_options(fitted)
    fitted.set_defaults(command=_fit_basis, basis=None)
    return parser


def _add_extractor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--extractor", required=True, metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="parameters",
                        help="a parameter of the extractor, as a recipe has it; may be repeated")  # fmt: skip
    parser.add_argument("--device", default="cpu", metavar="cpu|cuda[:N]", help="default: cpu")
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="the folder of network weights")
    parser.add_argument("--random-weights", action="store_true",
                        help="run a network with RANDOM weights, to try it out")  # fmt: skip
    parser.add_argument(
        "--random-seed", type=int, default=0, metavar="N", help="of random weights (default 0)"
    )
    parser.add_argument("--nprocs", type=int, metavar="N", help="threads (default: all that may be used)")


def _list(options: argparse.Namespace) -> int:
    from cinebold.features.catalogue import catalogue
    from cinebold.features.catalogue_words import row_words

    entries = catalogue(options.weights_dir)
    if options.json:
        text = json.dumps([asdict(entry) for entry in entries], indent=2)
    else:
        text = "\n".join(row_words(entry) for entry in entries)
    sys.stdout.write(text + "\n")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from cinebold.errors import DownloadError, SettingError
    from cinebold.features.checkpoints.fetching import fetch_checkpoint
    from cinebold.features.fetching import fetch_weights
    from cinebold.features.registry import extractor_class, has_weights

    failed = 0
    for asked in options.extractors:
        name, _, checkpoint = asked.partition(":")
        kind = extractor_class(name)
        if not has_weights(kind):
            raise SettingError(f"{name} needs no weights: there is nothing to download.")
        hub_name = checkpoint or getattr(kind, "hub_name", "")
        if checkpoint and not hasattr(kind, "hub_name"):
            raise SettingError(f"{name} has one checkpoint; leave {checkpoint} out.")
        try:
            if hub_name:
                path, is_new = fetch_checkpoint(hub_name, options.weights_dir, _progress(hub_name))
            else:
                path, is_new = fetch_weights(kind.source, options.weights_dir, _progress(name))
        except DownloadError as error:
            failed = _say(str(error), 1)
            continue
        sys.stdout.write(f"{name}: {path} {'downloaded' if is_new else 'was there'}\n")
    return failed


def _progress(name: str) -> Any:
    """A function that says how far a download is, where somebody looks."""
    if not sys.stderr.isatty():
        return lambda n_bytes, n_total: None

    def say(n_bytes: int, n_total: int | None) -> None:
        of = f" of {n_total / 1e6:.0f}" if n_total else ""
        sys.stderr.write(f"\r{name}: {n_bytes / 1e6:.0f}{of} MB" + ("\n" if n_bytes == n_total else ""))

    return say


def _extract(options: argparse.Namespace) -> int:
    from cinebold.errors import SettingError
    from cinebold.features.store import ensure_features, read_features

    if options.out.suffix != ".h5":
        raise SettingError(f"--out must name a file .h5; found {options.out}.")
    extractor, n_threads = _extractor(options)
    with _warnings_told():
        done = ensure_features(
            options.film, {options.out: extractor}, n_threads=n_threads, progress=sys.stderr.isatty()
        )
    series = read_features(options.out)
    sys.stdout.write(
        f"{options.out}: {len(series.times_s)} windows x {len(series.names)} features of {series.film_duration_s:g} s"
        f"{'' if done else ', which were there already'}\n"
    )
    _tell_random_weights(series.provenance)
    return 0


def _fit_basis(options: argparse.Namespace) -> int:
    from cinebold.features.basis_fit import fit_basis
    from cinebold.features.nodes import layers_of_any_size

    with layers_of_any_size():
        extractor, n_threads = _extractor(options)
    with _warnings_told():
        basis = fit_basis(
            options.films,
            extractor,
            options.n_components,
            options.out,
            n_threads=n_threads,
            progress=sys.stderr.isatty(),
            memory_mb=options.mem_mb,
        )
    films = f"{len(basis.films)} film{'s'[: len(basis.films) > 1]}"
    sys.stdout.write(
        f"{options.out}: {basis.n_components} components of {basis.n_inputs:,} features, "
        f"{sum(basis.explained_variance_ratio):.1%} of the variance of {basis.n_windows} windows of {films}\n"
    )
    _tell_random_weights(basis.extractor)
    return 0


def _extractor(options: argparse.Namespace) -> tuple["Extractor", int]:
    """The extractor that the options mean, and how many threads it may use."""
    from cinebold.errors import SettingError
    from cinebold.features.registry import (
        create_extractor,
        extractor_class,
        has_weights,
        validate_parameters,
    )

    n_threads = options.nprocs or len(os.sched_getaffinity(0))
    if n_threads < 1:
        raise SettingError(f"--nprocs must be at least 1; found {options.nprocs}.")
    parameters = dict(_parameter(text) for text in options.parameters)
    validate_parameters(options.extractor, parameters, with_basis=options.basis is not None)
    extractor = create_extractor(
        options.extractor,
        parameters,
        device=options.device,
        weights_dir=None if options.weights_dir is None else str(options.weights_dir),
        random_weights=options.random_weights,
        seed=options.random_seed,
        basis=options.basis,
    )
    if has_weights(extractor_class(options.extractor)):
        import torch

        torch.set_num_threads(n_threads)
    return extractor, n_threads


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Warnings as sentences, without the place in the program."""
    import warnings

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: sys.stderr.write(f"warning: {message}\n")
        yield


def _tell_random_weights(provenance: Mapping[str, Any]) -> None:
    if provenance.get("random_weights"):
        sentence = "RANDOM weights: these features say nothing about a trained network."
        _say(f"\033[1;31m{sentence}\033[0m" if sys.stderr.isatty() else sentence, 0)


def _parameter(text: str) -> tuple[str, Any]:
    """`key=value`, the value as TOML where it is, else as a text."""
    from cinebold.errors import SettingError

    key, separator, value = text.partition("=")
    if not separator or not key:
        raise SettingError(f"--set takes KEY=VALUE, such as hop_s=0.5; found {text!r}.")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"cinebold-features: {sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
