"""Training embeddings from a head on a frozen backbone."""
