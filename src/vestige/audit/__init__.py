"""The jobs: plain values in, a frozen result and a run folder out."""
