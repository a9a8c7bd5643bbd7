// The official client of Socket.IO, driven line by line: orders as JSON on standard input, what happens as JSON on
// standard output. It ends with its input.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const sockets = new Map();
const cuts = [];
const say = (told) => console.log(JSON.stringify(told));

// The connection is lost without a word, as when a cable is pulled.
function cut(socket) {
  const engine = socket.io.engine;
  if (engine.transport.name === "websocket") engine.transport.ws.terminate();
  else engine.close();
}

const orders = {
  open({ name, url, options }) {
    const socket = io(url, options);
    sockets.set(name, socket);
    const tell = (what, more) => say({ name, what, ...more });
    socket.on("connect", () =>
      tell("connect", { id: socket.id, recovered: socket.recovered === true, transport: socket.io.engine.transport.name }),
    );
    socket.on("connect_error", (error) => tell("connect_error", { message: error.message, data: error.data }));
    socket.on("disconnect", (reason) => tell("disconnect", { reason, active: socket.active }));
    socket.onAny((event, ...args) => {
      tell("event", { event, data: args[0] });
      const at = cuts.findIndex((wanted) => wanted.name === name && wanted.event === event && --wanted.count === 0);
      if (at < 0) return;
      cuts.splice(at, 1);
      // Not from within: the client notes the place of an event behind its handlers.
      setImmediate(() => cut(socket));
    });
    socket.io.on("open", () => {
      tell("engine", { id: socket.io.engine.id, transport: socket.io.engine.transport.name });
      socket.io.engine.on("upgrade", (transport) => tell("upgrade", { transport: transport.name }));
    });
  },
  emit: ({ name, event, data }) => sockets.get(name).emit(event, data),
  blob: ({ name, event }) => sockets.get(name).emit(event, Buffer.from([1, 2, 3]), (answer) => say({ name, what: "ack", answer })),
  ask: ({ name, event, data }) => sockets.get(name).emit(event, data, (answer) => say({ name, what: "ack", answer })),
  cut: ({ name }) => cut(sockets.get(name)),
  cut_at: (wanted) => cuts.push(wanted),
  disconnect: ({ name }) => sockets.get(name).disconnect(),
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { order, ...rest } = JSON.parse(line);
    orders[order](rest);
  })
  .on("close", () => process.exit(0));
say({ what: "ready" });
