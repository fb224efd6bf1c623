"""Run folders: crash-safe files, resume, and what a result depends on."""
