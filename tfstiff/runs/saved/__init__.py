"""Models that were saved: which files there are, how they are read, and the stiffness of them without training."""
