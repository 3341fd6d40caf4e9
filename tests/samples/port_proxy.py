"""A server in a sandbox, reached through the gateway as ROCK's documents have it."""

import asyncio
import os
import re
import sys

import httpx

from rock.actions import CreateBashSessionRequest
from rock.sdk.sandbox.client import Sandbox
from rock.sdk.sandbox.config import SandboxConfig

HERE = sys.argv[1]


async def serve(sandbox: Sandbox) -> str:
    """Serve a folder; the port it is served at."""
    await sandbox.create_session(CreateBashSessionRequest(session="default"))
    folder, log = f"{HERE}/served", f"{HERE}/server.log"
    await sandbox.arun(f"mkdir -p {folder} && echo hello > {folder}/index.html", session="default")
    server = f"python3 -u -m http.server 0 --bind 127.0.0.1 --directory {folder}"
    await sandbox.arun(f"nohup {server} < /dev/null > {log} 2>&1 &", session="default")
    said = await sandbox.arun(f"until grep -o 'port [0-9]*' {log}; do sleep 0.05; done", session="default")
    return re.findall(r"port (\d+)", said.output)[-1]


async def main() -> None:
    """With the port in the path, in a header, in the query; and a port where nobody listens."""
    sandbox = Sandbox(SandboxConfig(memory="128m", cpus=0.1, startup_timeout=60))
    await sandbox.start()
    port = await serve(sandbox)
    base = os.environ["ROCK_BASE_URL"]
    async with httpx.AsyncClient() as client:
        for root in (base, f"{base}/apis/envs/sandbox/v1"):
            proxy = f"{root}/sandboxes/{sandbox.sandbox_id}/proxy"
            for reply in (
                await client.get(f"{proxy}/port/{port}/index.html"),
                await client.get(f"{proxy}/index.html", headers={"X-ROCK-Target-Port": port}),
                await client.get(f"{proxy}/index.html?rock_target_port={port}"),
            ):
                assert (reply.status_code, reply.text) == (200, "hello\n"), reply.text
            refused = await client.get(f"{proxy}/port/22/")
            assert refused.status_code == 400, refused.text
            nobody = await client.get(f"{proxy}/port/1029/")
            assert nobody.status_code in (502, 503, 504), nobody.text
    await sandbox.stop()


if __name__ == "__main__":
    asyncio.run(main())
