"""Reads JSON lines {cron, zone, after, count} and answers each with the next starts as Unix times."""

import json
import sys
from datetime import datetime, timezone
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

for line in sys.stdin:
    case = json.loads(line)
    zone = timezone.utc if case["zone"] == "UTC" else ZoneInfo(case["zone"])
    after = datetime.fromtimestamp(case["after"], zone)
    starts = islice(CronSim(case["cron"], after), case["count"])
    print(json.dumps([int(start.timestamp()) for start in starts]))
