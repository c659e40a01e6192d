"""One measurement: options, probe, the pass over it, and its distribution over processes."""
