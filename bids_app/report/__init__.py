"""Web pages that a scientist reads: one a participant and one for the group, assembled from files on disk."""

from bids_app.report.methods import methods_markdown
from bids_app.report.pages import write_group_report, write_participant_report

__all__ = ["methods_markdown", "write_group_report", "write_participant_report"]
