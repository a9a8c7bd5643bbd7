// A hub on Node and `ws`: a set of sockets for each channel, each event serialised once.
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { settings, verify } from './token.mjs';

const { port, secret } = settings(process.env);
const channels = new Map();
const http = createServer((request, response) => {
  response.writeHead(request.url === '/ready' ? 200 : 404).end();
});
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

function join(ws, channel) {
  let members = channels.get(channel);
  if (!members) channels.set(channel, (members = new Set()));
  members.add(ws);
  ws.channels.push(channel);
}

function leave(ws) {
  for (const channel of ws.channels) {
    const members = channels.get(channel);
    members.delete(ws);
    if (members.size === 0) channels.delete(channel);
  }
}

function handle(ws, frame) {
  switch (frame.type) {
    case 'publish': {
      const event = { type: 'event', channel: frame.channel, event: frame.event, data: frame.data };
      // a Buffer, so that the text is encoded once and not for each subscriber
      const bytes = Buffer.from(JSON.stringify(event));
      for (const member of channels.get(frame.channel) ?? []) member.send(bytes, { binary: false });
      break;
    }
    case 'subscribe':
      for (const channel of frame.channels) {
        join(ws, channel);
        ws.send(JSON.stringify({ type: 'subscribed', channel }));
      }
      ws.send(JSON.stringify({ type: 'response', id: frame.id, result: { subscribed: frame.channels } }));
      break;
    case 'ping':
      ws.send(JSON.stringify({ type: 'pong' }));
      break;
    default:
      ws.send(JSON.stringify({ type: 'error', code: 'bad_request', message: 'unknown type' }));
  }
}

http.on('upgrade', (request, socket, head) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname !== '/ws' || !verify(url.searchParams.get('token'), secret)) {
    socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
    return;
  }
  sockets.handleUpgrade(request, socket, head, (ws) => {
    ws.channels = [];
    ws.on('message', (text) => handle(ws, JSON.parse(text)));
    ws.on('close', () => leave(ws));
    ws.on('error', () => ws.terminate());
  });
});

http.listen(port, '127.0.0.1');
