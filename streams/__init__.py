"""vpcflow-streams: VPC Flow Logs in, rolling tables and Prometheus metrics out."""

import os

# Polars reads it once, when it is first imported. The core works in one thread; the second one that Polars would start
# finds little to do and costs a fifth more CPU, waiting for work (docs/BENCH.md).
os.environ.setdefault("POLARS_MAX_THREADS", "1")
