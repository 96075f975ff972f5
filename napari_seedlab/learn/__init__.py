"""Encoders, maps, queries and training, as generators of progress."""
