"""The ledger of a run: which stages are complete, why the others are not, and the work on a stage from begin to finish.

A stage's folder ends with `stage.json`, written last. The stage is complete when that file is there, its version,
settings and inputs match those wanted now, every output has its size, and the stages it depends on are complete.
While a stage runs, `begun.json` says for which settings and inputs, so that the next attempt knows whether to continue
what it finds. It stays beside stage.json, from which a lost stage.json can be made again without the work.

The ledger never deletes finished work, and displaces none of more than a minute without `--discard`.
"""

from resnet.ledger.attempt import Attempt
from resnet.ledger.ledger import Ledger

__all__ = ["Attempt", "Ledger"]
