"""Run folders: crash-safe files, resume, and what a result depends on."""

from vestige.runs.environment import environment, versions
from vestige.runs.files import read_json, sha256_of, write_atomically, write_json
from vestige.runs.folder import Checkpoint, RunError, RunFolder, RunMismatch, RunState, content_key
from vestige.runs.signals import EXIT_STATUS, Interrupted, StopRequest, stop_requests

__all__ = [
    "EXIT_STATUS",
    "Checkpoint",
    "Interrupted",
    "RunError",
    "RunFolder",
    "RunMismatch",
    "RunState",
    "StopRequest",
    "content_key",
    "environment",
    "read_json",
    "sha256_of",
    "stop_requests",
    "versions",
    "write_atomically",
    "write_json",
]
