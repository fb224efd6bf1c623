"""Networks the methods need, their architectures as text, weights files, and training towards a margin."""
