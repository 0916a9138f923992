import { connect } from 'node:net';

/** One request over core NATS, as an agent sends it; the protocol is lines of text. */
export function request(
  url: string,
  subject: string,
  body?: unknown,
): Promise<Record<string, unknown>> {
  const { hostname, port } = new URL(url);
  const inbox = `_INBOX.${crypto.randomUUID()}`;
  const payload = body === undefined ? '' : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port || 4222), hostname);
    let received = '';
    socket.setTimeout(5000, () => socket.destroy(new Error(`no answer on ${subject}`)));
    socket.on('error', reject);
    socket.on('connect', () => {
      socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n');
      socket.write(`SUB ${inbox} 1\r\n`);
      socket.write(`PUB ${subject} ${inbox} ${Buffer.byteLength(payload)}\r\n${payload}\r\n`);
    });
    socket.on('data', (data) => {
      received += data.toString();
      // HMSG has headers before the body: the reply is the JSON object that ends the message.
      const message = /H?MSG [^\r]*\r\n([\s\S]*)\r\n$/.exec(received);
      const start = message?.[1]?.indexOf('{') ?? -1;
      if (!message?.[1] || start < 0) return;
      try {
        resolve(JSON.parse(message[1].slice(start)) as Record<string, unknown>);
        socket.destroy();
      } catch {
        // Not all of it is here yet.
      }
    });
  });
}

/** Many messages at once, which nobody waits to be answered; done when the server has them all. */
export function burst(url: string, subject: string, bodies: unknown[]): Promise<void> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port || 4222), hostname);
    let received = '';
    socket.setTimeout(20_000, () => socket.destroy(new Error(`no answer to ${subject}`)));
    socket.on('error', reject);
    socket.on('connect', () => {
      socket.write('CONNECT {"verbose":false,"headers":true}\r\n');
      for (const body of bodies) {
        const payload = JSON.stringify(body);
        const size = Buffer.byteLength(payload);
        socket.write(`PUB ${subject} _INBOX.nobody ${size}\r\n${payload}\r\n`);
      }
      socket.write('PING\r\n');
    });
    socket.on('data', (data) => {
      received += data.toString();
      if (!received.includes('PONG')) return;
      resolve();
      socket.destroy();
    });
  });
}

const BUCKET = 'policy_rules';

/** A policy's record as it stands in the bucket. */
export function record(url: string, name: string): Promise<Record<string, unknown>> {
  return request(url, `$JS.API.DIRECT.GET.KV_${BUCKET}.$KV.${BUCKET}.${name}`);
}

/** Writes a policy's record past everything that looks at it. */
export async function putRecord(url: string, name: string, record: object): Promise<void> {
  const answer = await request(url, `$KV.${BUCKET}.${name}`, record);
  if (!('seq' in answer)) throw new Error(JSON.stringify(answer));
}
