// A check, a batch, the report of an unchecked call and an outcome, with the NATS client for Node.
//
// npm ci --prefix clients/recipes/node && node clients/recipes/node/check.js

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers, NoRespondersError, RequestError, TimeoutError } from "@nats-io/transport-node";
import { Ajv2020 } from "ajv/dist/2020.js";

// `validateFormats: false`: formats such as `uint64` are not JSON Schema's own.
const ajv = new Ajv2020({ strict: false, validateFormats: false });
const schema = (name) =>
  ajv.compile(JSON.parse(readFileSync(new URL(`../../../schemas/${name}.json`, import.meta.url), "utf8")));

// Nobody decided. `cause` is one of those that docs/clients.md lists.
class Unchecked extends Error {
  constructor(cause, message, code) {
    super(message);
    Object.assign(this, { cause, code });
  }
}

// The answer to a request, or Unchecked.
async function ask(nc, subject, request, valid, timeout) {
  let answer;
  try {
    answer = await nc.request(subject, JSON.stringify(request), { timeout });
  } catch (error) {
    if (error instanceof NoRespondersError || (error instanceof RequestError && error.isNoResponders())) {
      throw new Unchecked("no_responders", `no worker answers on ${subject}`);
    }
    const late = error instanceof TimeoutError;
    throw new Unchecked(late ? "timeout" : "disconnected", late ? `no answer within ${timeout} ms` : error.message);
  }
  const code = answer.headers?.get("Nats-Service-Error-Code");
  if (code) {
    const { error } = answer.json();
    throw new Unchecked("service_error", `${error.field}: ${error.message}`, Number(code));
  }
  let reply;
  try {
    reply = answer.json();
  } catch (error) {
    throw new Unchecked("invalid_reply", error.message);
  }
  if (!valid(reply)) throw new Unchecked("invalid_reply", ajv.errorsText(valid.errors));
  return reply;
}

// A UUIDv7: milliseconds since 1970, then random bits (RFC 9562).
function uuid7() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

const withId = (id) => {
  const all = headers();
  all.set("Nats-Msg-Id", id);
  return all;
};

// Tells the audit that a call went on, or was refused, unchecked. Returns the call's id. A real client
// keeps the report and tries again while this fails.
async function report(nc, request, unchecked, allowed) {
  const id = uuid7();
  const event = {
    schema: 1, id, timestamp: new Date().toISOString(), cause: unchecked.cause,
    message: unchecked.message.slice(0, 500), allowed, client: "recipe-node/1", request,
  };
  await jetstream(nc).publish("policy.unchecked", JSON.stringify(event), { msgID: id });
  return id;
}

// Tells how a call ended: `ok`, `error` or `cancelled`.
function finished(nc, request, decision_id, outcome, duration_seconds, cost_usd = null, exception_type = "") {
  const id = uuid7();
  const members = ["agent", "user", "session_id", "run_id", "step_id", "project_id"];
  const who = Object.fromEntries(members.map((key) => [key, String(request.context[key] ?? "")]));
  const event = {
    schema: 1, id, decision_id, timestamp: new Date().toISOString(), outcome, exception_type, duration_seconds,
    cost_usd, client: "recipe-node/1", action: request.action, ...who,
  };
  nc.publish("policy.outcome", JSON.stringify(event), { headers: withId(id) });
}

const nc = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
const timeout = Number(process.env.TIMEOUT ?? 1) * 1000;
const request = {
  action: "llm_call",
  resource: { model: "gpt-4", prompt_length: 1234 },
  context: { agent: "planner", session_id: "s-1", estimated_cost_usd: 0.05, budget: { remaining_usd: 0.1 } },
  package: "cmbagent.cost_control",
};
const isRequest = schema("check_request");
if (!isRequest(request)) throw new Error(ajv.errorsText(isRequest.errors));
const isReply = schema("check_reply");

let allowed;
let decisionId;
try {
  const decision = await ask(nc, "policy.check", request, isReply, timeout);
  console.log("decided:", decision.decision, "because:", decision.reason);
  ({ allowed, decision_id: decisionId } = decision);
} catch (unchecked) {
  if (!(unchecked instanceof Unchecked)) throw unchecked;
  allowed = true; // fail open; false for what must never go unchecked
  decisionId = await report(nc, request, unchecked, allowed);
  console.log("unchecked:", unchecked.cause);
}

if (allowed) {
  const began = performance.now();
  // Here the operation would be.
  finished(nc, request, decisionId, "ok", (performance.now() - began) / 1000, 0.04);
}

try {
  const many = { checks: [request, { action: "file_read" }] };
  const { decisions } = await ask(nc, "policy.check_batch", many, schema("check_batch_reply"), timeout);
  for (const item of decisions) {
    console.log("of many:", item.decision ?? `${item.error.code} ${item.error.field}`);
  }
} catch (unchecked) {
  if (!(unchecked instanceof Unchecked)) throw unchecked;
  console.log("of many: unchecked:", unchecked.cause);
}

try {
  await ask(nc, "policy.check", { action: "file_read" }, isReply, timeout);
} catch (unchecked) {
  if (!(unchecked instanceof Unchecked)) throw unchecked;
  // 400: the request is wrong, and asking again won't help. 503: the workers are busy.
  console.log("wrong:", unchecked.cause, unchecked.code, unchecked.message.split(":")[0]);
}
await nc.drain();
