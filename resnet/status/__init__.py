"""Where a run stands: the state of each stage and why, what would run next, and about how long that takes.

It runs nothing, changes nothing, and keeps nobody from working. The ledger says what the settings and images of today
ask for, the inventory what is on the disk.
"""

from resnet.status.forecast import Forecast, forecast
from resnet.status.room import Room, room
from resnet.status.run_status import RunStatus, read_status
from resnet.status.stage_status import StageStatus, State

__all__ = ["Forecast", "Room", "RunStatus", "StageStatus", "State", "forecast", "read_status", "room"]
