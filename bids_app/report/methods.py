"""The methods text of an analysis, from the summary of what really ran; every sentence with its references."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from bids_app.report.methods_data import design_sentences, inputs_sentences, responses_sentences
from bids_app.report.methods_features import features_sentences
from bids_app.report.methods_model import (
    comparison_sentences,
    model_sentences,
    noise_ceiling_sentences,
    significance_sentences,
)
from bids_app.report.summaries import is_number, plural, sequence_of, version_of

_CITATION = re.compile(r"\[((?:@\w+(?:; )?)+)\]")


@dataclass(frozen=True)
class Reference:
    """A publication or a program that the text cites."""

    key: str
    short: str
    full: str
    doi: str = ""
    url: str = ""

    @property
    def link(self) -> str:
        """Where it can be found."""
        return f"https://doi.org/{quote(self.doi, safe='/:();')}" if self.doi else self.url


@dataclass(frozen=True)
class Paragraph:
    """One step of the analysis; `parts` alternates between text and tuples of the references that stand there."""

    heading: str
    parts: tuple[str | tuple[Reference, ...], ...]


def methods_markdown(summary: Mapping[str, Any]) -> str:
    """The methods text as Markdown, with the list of the references that it cites."""
    paragraphs = methods_paragraphs(summary)
    lines = ["## Methods", ""]
    for paragraph in paragraphs:
        text = "".join(part if isinstance(part, str) else _in_brackets(part) for part in paragraph.parts)
        lines += [f"**{paragraph.heading}.** {_escaped(text)}", ""]
    lines += ["### References", ""]
    for reference in cited(paragraphs):
        lines.append(f"- {reference.full} <{reference.link}>")
    return "\n".join(lines) + "\n"


def methods_paragraphs(summary: Mapping[str, Any]) -> list[Paragraph]:
    """The steps of a participant's or a group's analysis; a summary that lacks something lacks the sentences on it."""
    steps = _GROUP_STEPS if _is_group(summary) else _PARTICIPANT_STEPS
    known = references()
    paragraphs = []
    for heading, write in steps:
        text = " ".join(sentence for sentence in write(summary) if sentence)
        if text:
            pieces = _CITATION.split(text)
            parts = [
                tuple(known[key] for key in re.findall(r"\w+", piece) if key in known) if i % 2 else piece
                for i, piece in enumerate(pieces)
            ]
            paragraphs.append(Paragraph(heading, tuple(part for part in parts if part)))
    return paragraphs


def cited(paragraphs: Sequence[Paragraph]) -> list[Reference]:
    """The references that stand in the text, each once, by name."""
    found = {
        r.key: r
        for paragraph in paragraphs
        for part in paragraph.parts
        if isinstance(part, tuple)
        for r in part
    }
    return sorted(found.values(), key=lambda reference: reference.full.lower())


@cache
def references() -> dict[str, Reference]:
    """All that can be cited, by key."""
    text = (resources.files("bids_app.report") / "templates" / "references.toml").read_text(encoding="utf-8")
    return {key: Reference(key, **entry) for key, entry in tomllib.loads(text).items()}


def _software(summary: Mapping[str, Any]) -> list[str]:
    own, nipype = version_of(summary, "cinebold"), version_of(summary, "nipype")
    ran = f"The analysis ran in cinebold{own and ' ' + own}, a BIDS App [@gorgolewski2017]"
    return [ran + (f", on the workflow engine Nipype {nipype} [@gorgolewski2011]." if nipype else ".")]


def _group_test(summary: Mapping[str, Any]) -> list[str]:
    members = sequence_of(summary, "participants")
    q = summary.get("q")
    return [
        f"The maps of {plural(len(members), 'participant')} were brought together in their common mask.",
        "Held-out r was Fisher-z transformed and tested against zero across participants with a two-sided one-sample "
        "t-test; so were the weights of each feature component.",
        f"The false discovery rate was controlled at q = {q:g} [@benjamini1995]." if is_number(q) else "",
    ]


_PARTICIPANT_STEPS = (
    ("Inputs", inputs_sentences),
    ("Features", features_sentences),
    ("Responses", responses_sentences),
    ("Design", design_sentences),
    ("Model", model_sentences),
    ("Noise ceiling", noise_ceiling_sentences),
    ("Comparison", comparison_sentences),
    ("Significance", significance_sentences),
    ("Software", _software),
)
_GROUP_STEPS = (("Group test", _group_test), ("Software", _software))


def _is_group(summary: Mapping[str, Any]) -> bool:
    return isinstance(summary.get("participants"), list)


def _in_brackets(found: tuple[Reference, ...]) -> str:
    return "(" + "; ".join(reference.short for reference in found) + ")"


def _escaped(text: str) -> str:
    """Markdown in names, such as underscores, loses its meaning."""
    return re.sub(r"([\\`*_<>#])", r"\\\1", text)
