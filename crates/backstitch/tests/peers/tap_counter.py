"""A tap written with singer-sdk that counts: `keyed` rows have a key, `keyless` rows have none.

It reads numbers from its bookmark (exclusive) up to the setting `last`, and writes a state after every tenth row. The
settings `die_at` (a number) and `die_how` (`exit`, `kill`, `cut`, `hang`) let it go wrong in the
second stream, `keyless`.
"""

import os
import signal
import sys
import time

from singer_sdk import Stream, Tap
from singer_sdk import typing as th


class CounterStream(Stream):
    replication_key = "number"
    is_sorted = True
    STATE_MSG_FREQUENCY = 10
    schema = th.PropertiesList(
        th.Property("number", th.IntegerType),
        th.Property("text", th.StringType),
        th.Property("tags", th.ArrayType(th.StringType)),
    ).to_dict()

    def get_records(self, context):
        first = self.get_starting_replication_key_value(context) or 0
        for number in range(first + 1, self.config["last"] + 1):
            if number == self.config.get("die_at") and self.name == "keyless":
                self.die()
            yield {"number": number, "text": f"row {number}", "tags": ["a", str(number % 3)]}

    def die(self):
        how = self.config.get("die_how", "exit")
        sys.stdout.flush()
        self.logger.error("Something is wrong with %s", self.config.get("password"))
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang":
            time.sleep(600)
        if how == "cut":
            os.write(1, b'{"type": "RECORD", "stream": "keyed", "record": {"num')
        os._exit(1)


class Keyed(CounterStream):
    name = "keyed"
    primary_keys = ("number",)


class Keyless(CounterStream):
    name = "keyless"
    primary_keys = ()


class TapCounter(Tap):
    name = "tap-counter"
    config_jsonschema = th.PropertiesList(
        th.Property("last", th.IntegerType, required=True),
        th.Property("password", th.StringType, required=True, secret=True),
        th.Property("die_at", th.IntegerType),
        th.Property("die_how", th.StringType),
    ).to_dict()

    def discover_streams(self):
        return [Keyed(self), Keyless(self)]


if __name__ == "__main__":
    TapCounter.cli()
