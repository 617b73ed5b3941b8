"""The methods texts of all analyses in one file, for people who write a paper."""

from pathlib import Path

from bids_app.report.methods import methods_markdown
from cinebold.files import read_json, write_text


def write_citation(output_dir: str | Path) -> Path:
    """Write logs/CITATION.md from the summaries below `output_dir`.

    Participants whose text is the same word for word share one section.
    """
    output_dir = Path(output_dir)
    texts: dict[str, list[str]] = {}
    for path in sorted(output_dir.glob("**/figures/*_desc-summary_report.json")):
        summary = read_json(path)
        who = f"sub-{summary['participant']}" if "participant" in summary else "group"
        texts.setdefault(methods_markdown(summary), []).append(f"{who}, recipe {summary.get('recipe')}")
    sections = [f"# {'; '.join(owners)}\n\n{text}" for text, owners in texts.items()]
    return write_text(output_dir / "logs" / "CITATION.md", "\n".join(sections))
