"""Loads the Singer messages of standard input into DuckDB with dlt. Usage: dlt_loader.py DATABASE FOLDER

dlt reads no Singer messages, so this hands it their records in lists. What makes it fast is done: a fast JSON reader,
columns described beforehand, arrays kept in their row, large buffers, and Parquet files between its steps.
"""

import os
import sys

os.environ.update(
    {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
        "NORMALIZE__WORKERS": "1",
        "LOAD__WORKERS": "1",
    }
)

import dlt  # noqa: E402
import orjson  # noqa: E402

ROWS = 5_000
PLAIN = (("integer", "bigint"), ("number", "decimal"), ("boolean", "bool"), ("string", "text"))


def data_type(schema):
    if schema.get("format") == "date-time":
        return "timestamp"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return next((of_dlt for name, of_dlt in PLAIN if name in types), "json")


def described(message):
    """An empty list that tells dlt what a SCHEMA message says."""
    columns = {name: {"data_type": data_type(schema)} for name, schema in message["schema"]["properties"].items()}
    hints = dlt.mark.make_hints(
        table_name=message["stream"],
        columns=columns,
        primary_key=message["key_properties"],
        write_disposition="merge",
    )
    return dlt.mark.with_hints([], hints, create_table_variant=True)


@dlt.resource(name="singer", max_table_nesting=0)
def pages(lines):
    waiting = {}
    for line in lines:
        message = orjson.loads(line)
        if message["type"] == "SCHEMA" and message["stream"] not in waiting:
            waiting[message["stream"]] = []
            yield described(message)
        elif message["type"] == "RECORD":
            stream = message["stream"]
            waiting[stream].append(message["record"])
            if len(waiting[stream]) == ROWS:
                yield dlt.mark.with_table_name(waiting[stream], stream)
                waiting[stream] = []
    for stream, rest in waiting.items():
        yield dlt.mark.with_table_name(rest, stream)


def main():
    database, folder = sys.argv[1:]
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=folder,
        destination=dlt.destinations.duckdb(database),
        dataset_name="theirs",
    )
    pipeline.run(pages(sys.stdin.buffer), loader_file_format="parquet")


if __name__ == "__main__":
    main()
