// Checks an HS256 token: the same work for every peer written in JavaScript.
import { createHmac, timingSafeEqual } from 'node:crypto';

/** The claims of a token whose signature and `exp` hold, else null. */
export function verify(token, secret) {
  const [head, claims, signature, more] = (token ?? '').split('.');
  if (!signature || more !== undefined) return null;
  const wanted = createHmac('sha256', secret).update(`${head}.${claims}`).digest();
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return null;
  try {
    if (JSON.parse(Buffer.from(head, 'base64url').toString()).alg !== 'HS256') return null;
    const parsed = JSON.parse(Buffer.from(claims, 'base64url').toString());
    return typeof parsed.exp === 'number' && parsed.exp > Date.now() / 1000 ? parsed : null;
  } catch {
    return null;
  }
}

/** Port and secret as the benchmark gives them. */
export function settings(env) {
  const port = Number(env.PEER_PORT);
  if (!Number.isInteger(port) || !env.PEER_SECRET) throw new Error('PEER_PORT and PEER_SECRET are needed');
  return { port, secret: env.PEER_SECRET };
}
