"""vpcflow-streams: VPC Flow Logs in, rolling tables and Prometheus metrics out."""

import ctypes
import os
import sys

# Polars reads it once, when it is first imported. The core works in one thread; the second one that Polars would start
# finds little to do and costs a fifth more CPU, waiting for work (docs/performance.md).
os.environ.setdefault("POLARS_MAX_THREADS", "1")

# Kafka messages are half a megabyte. glibc learns from the first one freed to take the next from its heap, where what
# lies between holds the freed ones: a fifth of a worker's memory (docs/performance.md). Others have no such call.
_M_MMAP_THRESHOLD, _LARGE = -3, 128 * 1024
if sys.platform == "linux":
    getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)(_M_MMAP_THRESHOLD, _LARGE)
