"""One measurement of a large probe by several processes, of this machine or Ray's.

The pairs fall into parts (`tfstiff.measuring.summation.parts`) whose totals add up. A job's folder holds what a process
must know and the totals of the parts that are done, so that a job that was stopped goes on where it was.
"""

from tfstiff.measuring.distributed.measure import measure_in_parts

__all__ = ["measure_in_parts"]
