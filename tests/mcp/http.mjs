// The reference server over streamable HTTP, on this machine alone. Says `ready` once it listens on PORT (0: any).
import net from "node:net";

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, done) {
  return listen.call(this, { host: "127.0.0.1", port: Number(port) }, () => {
    process.stdout.write(`ready ${this.address().port}\n`);
    done?.();
  });
};
process.stdin.on("end", () => process.exit(0)).resume();
await import("@modelcontextprotocol/server-everything/dist/transports/streamableHttp.js");
