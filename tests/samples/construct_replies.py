"""Reads replies, one JSON object a line (`model`, `result`), and constructs ROCK's own classes from each.

It prints the number of replies that it has constructed.
"""

import json
import sys

from rock.actions import response as envelopes
from rock.actions.sandbox import response as models

count = 0
for line in sys.stdin:
    said = json.loads(line)
    envelope = envelopes.RockResponse(**said["reply"])
    result = said["reply"]["result"]
    if envelope.status == "Success" and said["model"]:
        getattr(models, said["model"])(**result)
    if result is not None and envelope.status == "Failed":
        models.SandboxResponse(**result)
    count += 1
print(count)
