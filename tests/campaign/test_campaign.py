"""A short campaign, so that the scripts work when somebody needs them. The long one is in docs/reliability.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from kills import KILLS, Campaign


def test_a_training_killed_twice_makes_the_same_artifacts_and_leaves_nothing(tmp_path):
    campaign = Campaign(tmp_path, seed=1, task="Train")
    campaign.run(2, tuple(kill for kill in KILLS if kill.name in ("SIGKILL of all", "Ctrl-C through tee")))
    assert sum(campaign.kills.values()) == 2
    assert campaign.failures == []
    assert len(campaign.expected) > 20
