"""Listens on a plain loopback port and carries every connection to a TLS server, checking its certificate.

Usage: tls_bridge.py wss://127.0.0.1:PORT CERTIFICATE.pem; prints its own ws:// URL.
"""

import asyncio
import ssl
import sys
from urllib.parse import urlsplit


async def carry(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main():
    target = urlsplit(sys.argv[1])
    context = ssl.create_default_context(cafile=sys.argv[2])
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def connection(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(
                target.hostname, target.port, ssl=context, server_hostname="localhost"
            )
        except OSError as error:
            print(error, file=sys.stderr)
            writer.close()
            return
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    print("ws://127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
