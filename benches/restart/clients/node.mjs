// Node's clients: `http` with an agent that keeps connections, and `http2`
// with sessions. See mod.rs for what all clients do.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: Object.fromEntries(
    ['addr', 'protocol', 'certificate', 'requests', 'workers', 'clients', 'think', 'timeout'].map(
      (name) => [name, { type: 'string' }],
    ),
  ),
});
const [requests, workers, clients, think, timeout] = [
  options.requests,
  options.workers,
  options.clients,
  options.think,
  options.timeout,
].map(Number);
const isTls = options.certificate !== undefined;
const ca = isTls ? readFileSync(options.certificate) : undefined;
const origin = `${isTls ? 'https' : 'http'}://${options.addr}`;

let answered = 0;
const failures = new Map();

function failed(error) {
  const kind = kindOf(error);
  const failure = failures.get(kind) ?? { count: 0, example: String(error.message) };
  failure.count += 1;
  failures.set(kind, failure);
}

function kindOf(error) {
  const { code, message, syscall } = error;
  if (error.isUnsent) return 'unsent';
  if (error.isTimeout) return 'timeout';
  if (error.isEnd) return 'eof';
  if (syscall === 'connect') return 'connect';
  if (message.includes('REFUSED_STREAM')) return 'refused';
  if (message.includes('socket hang up') || message.includes('before secure TLS')) return 'eof';
  if (message === 'aborted') return 'eof';
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'reset';
  return 'other';
}

class EndedError extends Error {
  isEnd = true;
}

class TimeoutError extends Error {
  isTimeout = true;
}

// HTTP/1: the agent has the connections. It never sends a request twice.
class Http1 {
  #module = isTls ? https : http;
  #agent = new this.#module.Agent({ keepAlive: true, ca });

  send(body) {
    return new Promise((resolve, reject) => {
      const headers = { 'content-length': body.length };
      const options = { method: 'POST', agent: this.#agent, headers };
      const request = this.#module.request(`${origin}/`, options, (response) => {
        let answer = '';
        response.setEncoding('utf8');
        response.on('data', (data) => (answer += data));
        response.on('end', () => resolve({ status: response.statusCode, answer }));
        response.on('error', reject);
      });
      request.on('error', reject);
      request.setTimeout(timeout, () => request.destroy(new TimeoutError('no answer in time')));
      request.end(body);
    });
  }

  close() {
    this.#agent.destroy();
  }
}

// HTTP/2: one session at a time, and a new one as soon as the server has said
// that this one is over.
//
// Node writes a request some time after it was made. If it reads a GOAWAY in
// between it drops the request, with the same error as for one that the server
// has refused. Which of the two it was can be told from the last stream that
// the GOAWAY names.
class Http2 {
  #session;

  #connected() {
    if (!this.#session || this.#session.closed || this.#session.destroyed) {
      const session = http2.connect(origin, { ca });
      const forget = () => {
        if (this.#session === session) this.#session = undefined;
      };
      session.on('goaway', (_code, lastStream) => {
        session.lastStream = lastStream;
        forget();
      });
      session.on('close', forget);
      // Each of its requests fails too, and is counted there.
      session.on('error', forget);
      this.#session = session;
    }
    return this.#session;
  }

  send(body) {
    return new Promise((resolve, reject) => {
      const headers = { ':method': 'POST', ':path': '/', 'content-length': body.length };
      const session = this.#connected();
      const stream = session.request(headers);
      let [status, answer, hasEnded] = [0, '', false];
      stream.setEncoding('utf8');
      stream.on('response', (headers) => (status = headers[':status']));
      stream.on('data', (data) => (answer += data));
      stream.on('end', () => (hasEnded = true));
      stream.on('error', (error) => {
        const isRefused = stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM;
        error.isUnsent = stream.pending || (isRefused && session.lastStream >= stream.id);
        reject(error);
      });
      stream.on('close', () => {
        if (hasEnded && status) resolve({ status, answer });
        else reject(new EndedError(`stream closed without an answer, code ${stream.rstCode}`));
      });
      stream.setTimeout(timeout, () => stream.destroy(new TimeoutError('no answer in time')));
      stream.end(body);
    });
  }

  close() {
    this.#session?.destroy();
  }
}

const Client = options.protocol === 'h2' ? Http2 : Http1;
const pool = Array.from({ length: clients }, () => new Client());

let next = 0;
async function work(client) {
  while (next < requests) {
    const body = `request ${next++}`;
    await sleep(Math.random() * think);
    try {
      const { status, answer } = await client.send(body);
      if (status !== 200 || answer !== body) throw new Error(`${status} with ${answer.length} bytes`);
      answered += 1;
    } catch (error) {
      failed(error);
    }
  }
}

await Promise.all(Array.from({ length: workers }, (_, worker) => work(pool[worker % clients])));
pool.forEach((client) => client.close());
console.log(`answered ${answered}`);
for (const [kind, { count, example }] of failures) {
  console.log(`${kind} ${count} ${example.replaceAll('\n', ' ')}`);
}
