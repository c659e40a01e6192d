"""One pass over a probe: from a model's gradients to the sums over all pairs of its examples.

`gradients` computes what a tile of pairs adds, on the device; here the probe is divided into blocks and tiles, within a
limit of memory, and the sums of the tiles are added up for `stiffness` to estimate from.
"""
