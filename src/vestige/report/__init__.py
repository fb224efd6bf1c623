"""One self-contained HTML page for a run."""

from vestige.report.html import render_report, write_report
from vestige.report.membership import write_membership_report
from vestige.report.robustness import write_robustness_report
from vestige.report.study import write_study_report
from vestige.report.unlearning import write_unlearning_report
from vestige.report.verdict import Level, verdict

__all__ = [
    "Level",
    "render_report",
    "verdict",
    "write_membership_report",
    "write_report",
    "write_robustness_report",
    "write_study_report",
    "write_unlearning_report",
]
