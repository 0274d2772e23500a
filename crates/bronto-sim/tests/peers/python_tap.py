"""Starts the Python tap-bronto 1.0.2 against another server.

The tap itself is left as it is. Only two things around it change: the address of the WSDL, which it has as
a constant, and names that Python 3.10 moved out of `collections`, without which its pinned funcy 1.10
doesn't import.

Usage: python_tap.py WSDL_ADDRESS [arguments of tap-bronto]
"""

import collections
import collections.abc
import sys

for name in collections.abc.__all__:
    if not hasattr(collections, name):
        setattr(collections, name, getattr(collections.abc, name))

import tap_bronto  # noqa: E402
import tap_bronto.stream  # noqa: E402


def main():
    tap_bronto.stream.BRONTO_WSDL = sys.argv.pop(1)
    sys.exit(tap_bronto.main())


if __name__ == "__main__":
    main()
