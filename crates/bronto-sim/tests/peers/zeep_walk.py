"""Walks all five reads of a Bronto server with zeep, a SOAP client that knows nothing but the WSDL.

Every response is validated against the schema in the WSDL as well.

Prints one JSON line per object, `{"table": ..., "row": {...}}`, with the row in the form of the server's
`/sim/truth`: read-only data flattened, dates in canonical UTC, numbers as texts, absent fields left out.

Usage: zeep_walk.py WSDL_ADDRESS TOKEN START END
"""

import datetime
import decimal
import json
import sys
import urllib.request

import zeep
from lxml import etree
from zeep.exceptions import Fault
from zeep.helpers import serialize_object

NAMESPACE = "http://api.bronto.com/v4"
INCLUDES = (
    "includeLists",
    "includeSMSKeywords",
    "includeGeoIPData",
    "includeTechnologyData",
    "includeRFMData",
    "includeEngagementData",
    "includeSegments",
)


class Validation(zeep.Plugin):
    """Holds the content of each response against the schema of the WSDL."""

    def __init__(self, wsdl):
        with urllib.request.urlopen(wsdl) as response:
            description = etree.parse(response)
        schema = description.find(".//{http://www.w3.org/2001/XMLSchema}schema")
        self.schema = etree.XMLSchema(schema)

    def ingress(self, envelope, http_headers, operation):
        content = envelope.find("{http://schemas.xmlsoap.org/soap/envelope/}Body")[0]
        if not content.tag.endswith("}Fault"):
            self.schema.assertValid(content)
        return envelope, http_headers


def canonical(instant):
    text = instant.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{instant.microsecond:06}".rstrip("0")
    return text + (f".{fraction}" if fraction else "") + "Z"


def plain(value):
    if isinstance(value, bool) or isinstance(value, str):
        return value
    if isinstance(value, datetime.datetime):
        return canonical(value)
    if isinstance(value, (int, float, decimal.Decimal)):
        return str(value)
    if isinstance(value, list):
        # zeep reads a nil element of a complex type as an object without content.
        items = (plain(item) for item in value if item is not None)
        return [item for item in items if item != {}]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item is not None}
    raise TypeError(f"unexpected {type(value)}")


def row(result):
    fields = serialize_object(result, target_cls=dict)
    fields.update(fields.pop("readOnlyContactData", None) or {})
    values = ((name, plain(value)) for name, value in fields.items() if value is not None)
    return {name: value for name, value in values if value != []}


def emit(table, results):
    for result in results:
        print(json.dumps({"table": table, "row": row(result)}, ensure_ascii=False))


def pages(read, **parameters):
    """Every page until an empty one."""
    number = 1
    while results := read(pageNumber=number, **parameters):
        yield results
        number += 1


def activities(read, make_filter, start, end):
    """Every page of a cursor until fault 116."""
    direction = "FIRST"
    while True:
        try:
            results = read(
                filter=make_filter(start=start, end=end, size=1000, readDirection=direction)
            )
        except Fault as fault:
            if fault.message != "116: End of result set.":
                raise
            return
        yield results
        direction = "NEXT"


def main():
    wsdl, token, start, end = sys.argv[1:]
    start, end = (datetime.datetime.fromisoformat(text) for text in (start, end))
    client = zeep.Client(wsdl, plugins=[Validation(wsdl)])
    session = client.service.login(apiToken=token)
    header = client.get_element("{%s}sessionHeader" % NAMESPACE)(sessionId=session)
    client.set_default_soapheaders([header])
    types = client.type_factory(NAMESPACE)
    service = client.service

    fields = [
        field.id
        for results in pages(service.readFields, filter=types.fieldsFilter(), pageSize=10)
        for field in results
    ]
    modified = [
        types.dateValue(value=start, operator="AfterOrSameDay"),
        types.dateValue(value=end, operator="Before"),
    ]
    contact_filter = types.contactFilter(type="AND", modified=modified)
    includes = dict.fromkeys(INCLUDES, True)
    for results in pages(
        service.readContacts, filter=contact_filter, fields=fields, **includes
    ):
        emit("contact", results)
    for results in pages(service.readLists, filter=types.mailListFilter(), pageSize=10):
        emit("list", results)
    unsubscribe_filter = types.unsubscribeFilter(start=start, end=end)
    for results in pages(service.readUnsubscribes, filter=unsubscribe_filter):
        emit("unsubscribe", results)
    for table, read, make_filter in (
        (
            "inbound_activity",
            service.readRecentInboundActivities,
            types.recentInboundActivitySearchRequest,
        ),
        (
            "outbound_activity",
            service.readRecentOutboundActivities,
            types.recentOutboundActivitySearchRequest,
        ),
    ):
        for results in activities(read, make_filter, start, end):
            emit(table, results)
    service.logout()


if __name__ == "__main__":
    main()
