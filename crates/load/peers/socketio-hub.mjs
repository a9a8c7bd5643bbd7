// A hub on Socket.IO: rooms for channels, the token in the handshake, WebSocket transport only.
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { settings, verify } from './token.mjs';

const { port, secret } = settings(process.env);
const http = createServer((request, response) => {
  response.writeHead(request.url === '/ready' ? 200 : 404).end();
});
const io = new Server(http, { transports: ['websocket'], serveClient: false, perMessageDeflate: false });

io.use((socket, next) => {
  next(verify(socket.handshake.auth.token, secret) ? undefined : new Error('unauthorized'));
});

io.on('connection', (socket) => {
  socket.on('subscribe', (channels, done) => {
    socket.join(channels);
    done({ subscribed: channels });
  });
  socket.on('publish', (channel, data) => io.to(channel).emit('event', { channel, event: 'delta', data }));
  socket.on('ping', (done) => done());
});

http.listen(port, '127.0.0.1');
