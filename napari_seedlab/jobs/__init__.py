"""Background computations: states, progress, cancelling, resuming."""
