// The task contract, over real HTTP.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { fromElement, toElement } from "../task.mjs";

const RUN = fileURLToPath(new URL("../run.mjs", import.meta.url));

async function fakeBroker(t) {
  const requests = [];
  const server = http.createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => {
      requests.push({ path: request.url, headers: request.headers, body: JSON.parse(text), port: request.socket.remotePort });
      response.end('{"contextResponses": []}');
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { requests, url: `http://127.0.0.1:${server.address().port}/ngsi10` };
}

async function start(t, broker, source, name = "function.mjs") {
  const directory = await mkdtemp(path.join(os.tmpdir(), "fogflow-task-"));
  await writeFile(path.join(directory, name), source);
  const commands = [
    { command: "CONNECT_BROKER", brokerURL: broker.url },
    { command: "SET_CORRELATORID", correlatorID: "Task.t.main.1" },
    { command: "SET_REFERENCE", url: "http://127.0.0.1:1" },
    { command: "SET_OUTPUTS", type: "Out", id: "Out.1.1" },
  ];
  const child = spawn(process.execPath, [RUN, name], {
    cwd: directory,
    env: { ...process.env, myport: "0", adminCfg: JSON.stringify(commands), FOGFLOW_LISTEN: "127.0.0.1" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  t.after(async () => {
    child.kill("SIGKILL");
    await rm(directory, { recursive: true });
  });
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  const url = `http://127.0.0.1:${line.split(" ").at(-1)}`;
  const post = async (route, body) => {
    const answer = await fetch(url + route, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    return { status: answer.status, body: await answer.json() };
  };
  return { child, post };
}

const element = (id, value) => ({ entityId: { id, type: "T" }, attributes: [{ name: "v", type: "integer", value }] });
const notification = (...elements) => ({
  subscriptionId: "1",
  originator: "",
  contextResponses: elements.map((contextElement) => ({ contextElement, statusCode: { code: 200 } })),
});

const ECHO = "export const handler = (entity, publish) => publish({ attributes: { v: entity.attributes.v.value } });";

test("a notification is answered 200 and its result published to the declared output with the correlator", async (t) => {
  const broker = await fakeBroker(t);
  const task = await start(t, broker, ECHO);
  assert.deepEqual(await task.post("/notifyContext", notification(element("D.1", 7))), { status: 200, body: { responseCode: 200 } });
  const [request] = broker.requests;
  assert.equal(request.path, "/ngsi10/updateContext");
  assert.equal(request.headers["fiware-correlator"], "Task.t.main.1");
  assert.deepEqual(request.body, {
    contextElements: [{ entityId: { type: "Out", id: "Out.1.1" }, attributes: [{ name: "v", type: "integer", value: 7 }] }],
    updateAction: "UPDATE",
  });
});

test("the connection to the broker is kept", async (t) => {
  const broker = await fakeBroker(t);
  const task = await start(t, broker, ECHO);
  await task.post("/notifyContext", notification(element("D.1", 1), element("D.2", 2), element("D.3", 3)));
  assert.equal(broker.requests.length, 3);
  assert.equal(new Set(broker.requests.map((request) => request.port)).size, 1);
});

test("a CommonJS handler that does not wait for publish works too", async (t) => {
  const broker = await fakeBroker(t);
  const source = "exports.handler = function (entity, publish) { publish({ entityId: { id: 'R.1', type: 'R' }, attributes: {} }); };";
  const task = await start(t, broker, source, "function.cjs");
  assert.equal((await task.post("/notifyContext", notification(element("D.1", 7)))).status, 200);
  assert.equal(broker.requests[0].body.contextElements[0].entityId.id, "R.1");
});

test("a handler that throws does not stop the entities after it", async (t) => {
  const broker = await fakeBroker(t);
  const source = `export async function handler(entity, publish) {
    const v = entity.attributes.v.value;
    if (v === 1) throw new Error("no");
    await publish({ attributes: { v } });
  }`;
  const task = await start(t, broker, source);
  assert.equal((await task.post("/notifyContext", notification(element("D.1", 1), element("D.2", 2)))).status, 200);
  assert.deepEqual(broker.requests.map((request) => request.body.contextElements[0].attributes[0].value), [2]);
});

test("an NGSI-LD notification reaches the same handler", async (t) => {
  const broker = await fakeBroker(t);
  const task = await start(t, broker, ECHO);
  const entity = { id: "urn:D:1", type: "T", v: { type: "Property", value: 9 }, "@context": "x" };
  assert.equal((await task.post("/notifyContext", { type: "Notification", data: [entity, "no entity"] })).status, 200);
  assert.deepEqual(broker.requests.map((request) => request.body.contextElements[0].attributes[0].value), [9]);
});

test("a malformed element does not stop the entities after it", async (t) => {
  const broker = await fakeBroker(t);
  const task = await start(t, broker, ECHO);
  const body = notification(element("D.1", 7));
  body.contextResponses.unshift(null, { contextElement: null }, { statusCode: { code: 404 }, contextElement: {} });
  assert.equal((await task.post("/notifyContext", body)).status, 200);
  assert.equal(broker.requests.length, 1);
});

test("bad input is refused and the task goes on", async (t) => {
  const broker = await fakeBroker(t);
  const task = await start(t, broker, ECHO);
  assert.equal((await task.post("/notifyContext", "{")).status, 400);
  assert.equal((await task.post("/notifyContext", [])).status, 404);
  assert.equal((await task.post("/admin", { no: "list" })).status, 404);
  assert.equal((await task.post("/notifyContext", notification(element("D.1", 7)))).status, 200);
});

test("SIGTERM ends it with code 0", async (t) => {
  const broker = await fakeBroker(t);
  const task = await start(t, broker, ECHO);
  task.child.kill("SIGTERM");
  const [code] = await once(task.child, "exit");
  assert.equal(code, 0);
});

test("an element survives the way there and back", () => {
  const original = {
    entityId: { id: "D.1", type: "T" },
    attributes: [{ name: "v", type: "integer", value: 1 }],
    domainMetadata: [{ name: "location", type: "point", value: { latitude: 1, longitude: 2 } }],
  };
  assert.deepEqual(toElement(fromElement(original)), original);
});
