"""Models that nobody here wrote: `keras.applications` and KerasHub, small and with random weights."""
