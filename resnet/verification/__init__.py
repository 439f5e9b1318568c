"""Is every byte as it was written, and does each result belong to what it was made from? It changes nothing.

Every file is read: the outputs of finished stages against their SHA-256, each record against its checksum, checkpoints
against the digest in their header. Then the digests along the chain, from the images to the report.
"""

from resnet.verification.chain import broken_links
from resnet.verification.checks import SHARDS, Check, Finding, checks_of_data_set, checks_of_run
from resnet.verification.verify import Verdict, verify

__all__ = ["SHARDS", "Check", "Finding", "Verdict", "broken_links", "checks_of_data_set", "checks_of_run", "verify"]
