"""vestige reads, writes and erases what a neural network's weights hold."""

__version__ = "0.1.0"
