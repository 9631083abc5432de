// The task contract: `myport`, `adminCfg`, `POST /notifyContext`, `POST /admin`, SIGTERM.

import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { Broker, fromElement, fromLd, toElement } from "./ngsi.mjs";

export { Broker, fromElement, fromLd, toElement };

const MAX_BODY_BYTES = 16 * 1024 * 1024;
const DRAIN_MS = 4_000;

/** A parameter of the operator as text, from the environment variable `FOGFLOW_PARAM_<name>`. */
export function parameter(name, fallback) {
  return process.env[`FOGFLOW_PARAM_${name.replace(/[^A-Za-z0-9_]/g, "_")}`] ?? fallback;
}

/** The `handler` that a file exports, as an ES or a CommonJS module. */
export async function loadHandler(file) {
  const module = await import(pathToFileURL(path.resolve(file)).href);
  const handler = module.handler ?? module.default?.handler ?? module.default;
  if (typeof handler !== "function") throw new Error(`${file} does not export handler(entity, publish, query, subscribe)`);
  return handler;
}

/** A handler with what the worker told about it. */
export class Task {
  constructor(handler) {
    this.handler = handler;
    this.outputs = [];
    this.reference = "";
    this.broker = undefined;
    this.turn = Promise.resolve();
    this.brokerUrl = "";
    this.correlator = "";
  }

  /** Carries out admin commands in their order; unknown ones are ignored. */
  configure(commands) {
    const outputs = [];
    for (const command of commands) {
      switch (command?.command) {
        case "CONNECT_BROKER":
          this.brokerUrl = command.brokerURL;
          break;
        case "SET_CORRELATORID":
          this.correlator = command.correlatorID ?? "";
          break;
        case "SET_REFERENCE":
          this.reference = command.url ?? "";
          break;
        case "SET_OUTPUTS":
          outputs.push({ type: command.type ?? "", id: command.id ?? "" });
          break;
      }
    }
    if (outputs.length) this.outputs = outputs;
    if (this.brokerUrl) {
      this.broker?.close();
      this.broker = new Broker(this.brokerUrl, this.correlator);
    }
  }

  #broker() {
    if (!this.broker) throw new Error("no broker was set: neither adminCfg nor brokerURL is in the environment");
    return this.broker;
  }

  /** Completes the entity's id from the declared outputs and sends it. Resolves when the broker has it. */
  async publish(entity) {
    const element = toElement(entity);
    if (!element.entityId.id) {
      const { type } = element.entityId;
      const output = this.outputs.find((candidate) => candidate.type === type) ?? (type ? undefined : this.outputs[0]);
      if (!output) throw new Error(`the entity has no id, and no output of type ${type ?? "any"} is declared`);
      Object.assign(element.entityId, output);
    }
    await this.#broker().update([element]);
  }

  /** Calls the handler for every entity of a notification, one after the other. A failing call stops no other. */
  notify(notification) {
    const work = this.turn.then(async () => {
      for (const entity of entitiesOf(notification)) await this.#call(entity);
    });
    this.turn = work.catch(() => {});
    return work;
  }

  async #call(entity) {
    // Handlers of older templates publish without waiting; what they began is awaited here, so that the answer means done.
    const begun = [];
    const track = (promise) => {
      promise.catch(() => {});
      begun.push(promise);
      return promise;
    };
    const publish = (entity) => track(this.publish(entity));
    const query = async (entities, restriction) => this.#broker().query(entities, restriction);
    const subscribe = async (entities, attributes) => this.#broker().subscribe(entities, this.reference, attributes);
    try {
      await this.handler(entity, publish, query, subscribe);
      await Promise.all(begun);
    } catch (error) {
      console.error(error);
    }
  }
}

/** The entities of an NGSI-10 notification (`contextResponses`) or an NGSI-LD one (`data`). */
function entitiesOf(notification) {
  if (Array.isArray(notification.data)) {
    return notification.data.filter((entity) => entity !== null && typeof entity === "object").map(fromLd);
  }
  const responses = Array.isArray(notification.contextResponses) ? notification.contextResponses : [];
  return responses
    .filter((response) => response?.contextElement && Number(response.statusCode?.code ?? 200) === 200)
    .map((response) => fromElement(response.contextElement));
}

function readBody(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let length = 0;
    request.on("data", (chunk) => {
      length += chunk.length;
      if (length <= MAX_BODY_BYTES) chunks.push(chunk);
    });
    request.on("error", reject);
    request.on("end", () => (length > MAX_BODY_BYTES ? reject(new Error("too large")) : resolve(Buffer.concat(chunks).toString("utf8"))));
  });
}

async function respond(task, request, response) {
  const answer = (status, body) => {
    const data = JSON.stringify(body);
    response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(data) }).end(data);
  };
  if (request.method === "GET") return answer(200, { status: "running" });
  let body;
  try {
    body = JSON.parse(await readBody(request));
  } catch (error) {
    return answer(400, { error: `the body is not JSON: ${error.message}` });
  }
  const route = request.url.split("?")[0].replace(/\/$/, "");
  if (route === "/notifyContext" && body !== null && typeof body === "object" && !Array.isArray(body)) {
    await task.notify(body);
    return answer(200, { responseCode: 200 });
  }
  if (route === "/admin" && Array.isArray(body)) {
    try {
      task.configure(body);
    } catch (error) {
      return answer(400, { error: error.message });
    }
    return answer(200, { responseCode: 200 });
  }
  return answer(404, { error: "POST /notifyContext (an object) or /admin (a list)" });
}

/** Serves until SIGTERM or SIGINT. Resolves to the server once it listens. */
export function serve(handler) {
  const task = new Task(handler);
  task.configure(JSON.parse(process.env.adminCfg || "[]"));
  if (!task.broker && process.env.brokerURL) task.configure([{ command: "CONNECT_BROKER", brokerURL: process.env.brokerURL }]);
  const server = http.createServer((request, response) => {
    respond(task, request, response).catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
  // Longer than brokers keep an idle connection, so that it is never this side that closes under a request.
  server.keepAliveTimeout = 65_000;
  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    server.close();
    server.closeIdleConnections();
    const deadline = new Promise((resolve) => setTimeout(resolve, DRAIN_MS).unref());
    Promise.race([task.turn, deadline]).finally(() => process.exit(0));
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(Number(process.env.myport || 0), process.env.FOGFLOW_LISTEN || "0.0.0.0", () => {
      console.log(`listening on port ${server.address().port}`);
      resolve(server);
    });
  });
}
