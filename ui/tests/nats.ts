import { connect } from 'node:net';

/** One request over core NATS, as an agent sends it; the protocol is lines of text. */
export function request(
  url: string,
  subject: string,
  body: unknown,
): Promise<Record<string, unknown>> {
  const { hostname, port } = new URL(url);
  const inbox = `_INBOX.${Date.now()}`;
  const payload = JSON.stringify(body);
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
