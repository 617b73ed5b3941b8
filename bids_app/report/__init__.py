"""Web pages that a scientist reads, of a participant, the group and the films, assembled from files on disk."""

from bids_app.report.film_pages import write_stimuli_report
from bids_app.report.methods import methods_markdown
from bids_app.report.pages import write_group_report, write_participant_report

__all__ = ["methods_markdown", "write_group_report", "write_participant_report", "write_stimuli_report"]
