// A hub on Bun's own publish/subscribe, the fast way its documentation shows.
import { settings, verify } from './token.mjs';

const { port, secret } = settings(process.env);

const server = Bun.serve({
  hostname: '127.0.0.1',
  port,
  fetch(request, server) {
    const url = new URL(request.url);
    if (url.pathname === '/ready') return new Response('ready');
    if (url.pathname !== '/ws') return new Response('not found', { status: 404 });
    const claims = verify(url.searchParams.get('token'), secret);
    if (!claims) return new Response('unauthorized', { status: 401 });
    return server.upgrade(request, { data: { user: claims.sub } }) ? undefined : new Response('upgrade', { status: 426 });
  },
  websocket: {
    message(ws, text) {
      const frame = JSON.parse(text as string);
      switch (frame.type) {
        case 'publish':
          server.publish(
            frame.channel,
            JSON.stringify({ type: 'event', channel: frame.channel, event: frame.event, data: frame.data }),
          );
          break;
        case 'subscribe':
          for (const channel of frame.channels) {
            ws.subscribe(channel);
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
    },
  },
});
