"""SWE-ReX's wire, so that its clients (SWE-agent) use a sandbox as they would use `swerex-remote`.

Source: the package swe-rex 1.4.0, `swerex/server.py` and `swerex/runtime/abstract.py`.  What differs, on purpose:

* A command that runs out of time is killed, and what it had printed stands in the error's message.  There it runs on,
  its output is lost, and the next command waits for it.
* A shell that ends (`exit`, `set -e`) is replaced, and the exit code told.  There the session fails for ever after.
* A request that is sent again with its `X-Request-ID` runs once, whatever other clients sent in between.
* After signal n an exit code is 128 + n, as in a shell.  There `/execute` tells -n.
* An archive is unpacked within limits, and never outside of its target.
"""

from rocklet.dialects.swerex.dialect import PREFIX, SwerexDialect

__all__ = ["PREFIX", "SwerexDialect"]
