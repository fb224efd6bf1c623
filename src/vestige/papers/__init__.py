"""One record a paper: what it is, what it gives a user, and whether that works yet."""

from vestige.papers.catalogue import RECORDS
from vestige.papers.record import Record

__all__ = ["RECORDS", "Record"]
