"""A small tap made with singer-sdk: orders from a file of JSON lines, from the replication key's bookmark on."""

import datetime
import decimal
import json

from singer_sdk import Stream, Tap
from singer_sdk import typing as th


class Orders(Stream):
    name = "orders"
    primary_keys = ("id",)
    replication_key = "updated_at"
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType, required=True),
        th.Property("updated_at", th.DateTimeType),
        th.Property("text", th.StringType),
        th.Property("amount", th.NumberType),
        th.Property("tags", th.ArrayType(th.StringType)),
        th.Property(
            "customer",
            th.ObjectType(th.Property("name", th.StringType), th.Property("vip", th.BooleanType)),
        ),
        th.Property("note", th.StringType),
    ).to_dict()

    def get_records(self, context):
        since = self.get_starting_timestamp(context)
        with open(self.config["path"], encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line, parse_float=decimal.Decimal)
                if since is None or datetime.datetime.fromisoformat(record["updated_at"]) >= since:
                    yield record


class TapOrders(Tap):
    name = "tap-orders"
    config_jsonschema = th.PropertiesList(th.Property("path", th.StringType, required=True)).to_dict()

    def discover_streams(self):
        return [Orders(self)]


if __name__ == "__main__":
    TapOrders.cli()
