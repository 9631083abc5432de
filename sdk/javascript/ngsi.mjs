// NGSI-10 (FogFlow's JSON binding) as a task needs it: entities, and a broker client that keeps its connection.

import http from "node:http";
import https from "node:https";

const TIMEOUT_MS = 10_000;

function typeOf(value) {
  if (typeof value === "boolean") return "boolean";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "float";
  if (typeof value === "string") return "string";
  return "object";
}

function byName(items) {
  return Object.fromEntries((items ?? []).map(({ name, type = "", value = null }) => [name, { type, value }]));
}

function asList(items) {
  return Object.entries(items ?? {}).map(([name, item]) =>
    item !== null && typeof item === "object" && "value" in item
      ? { name, type: item.type || typeOf(item.value), value: item.value }
      : { name, type: typeOf(item), value: item },
  );
}

/** A contextElement of a notification as `{entityId, attributes: {name: {type, value}}, metadata: {name: {type, value}}}`. */
export function fromElement(element) {
  return { entityId: element.entityId ?? {}, attributes: byName(element.attributes), metadata: byName(element.domainMetadata) };
}

/** An NGSI-LD entity (normalized) in the form of fromElement, for operators with `notify_format` `ngsi-ld`. */
export function fromLd({ id = "", type = "", ...rest }) {
  const attributes = {};
  for (const [name, attribute] of Object.entries(rest)) {
    if (name === "@context" || attribute === null || typeof attribute !== "object" || Array.isArray(attribute)) continue;
    const value = attribute.value ?? attribute.object ?? null;
    attributes[name] = { type: typeOf(value), value };
  }
  return { entityId: { id, type }, attributes, metadata: {} };
}

/** The reverse of fromElement. Attribute values may also be given plain: `{temp: 21.5}`. */
export function toElement(entity) {
  const element = { entityId: { ...entity.entityId }, attributes: asList(entity.attributes) };
  const metadata = asList(entity.metadata);
  return metadata.length ? { ...element, domainMetadata: metadata } : element;
}

/** A broker at `http://host:port/ngsi10`. One connection is kept. */
export class Broker {
  constructor(url, correlator = "") {
    this.url = new URL(url.endsWith("/") ? url : `${url}/`);
    this.correlator = correlator;
    this.client = this.url.protocol === "https:" ? https : http;
    this.agent = new this.client.Agent({ keepAlive: true, maxSockets: 1, timeout: TIMEOUT_MS });
  }

  /** Posts JSON to `<url>/<operation>`; resolves to the decoded answer (`{}` when it is not JSON). */
  async post(operation, body) {
    const data = Buffer.from(JSON.stringify(body));
    try {
      return await this.#exchange(operation, data);
    } catch (error) {
      // A connection that was kept may have been closed by the broker meanwhile: once more on a new one.
      if (error.reused) return this.#exchange(operation, data);
      throw error;
    }
  }

  #exchange(operation, data) {
    return new Promise((resolve, reject) => {
      const headers = { "Content-Type": "application/json", Accept: "application/json", "Content-Length": data.length };
      if (this.correlator) headers["Fiware-Correlator"] = this.correlator;
      const request = this.client.request(new URL(operation, this.url), { method: "POST", agent: this.agent, headers, timeout: TIMEOUT_MS });
      request.on("timeout", () => request.destroy(new Error(`${operation}: no answer within ${TIMEOUT_MS} ms`)));
      request.on("error", (error) => reject(Object.assign(error, { reused: request.reusedSocket && error.code === "ECONNRESET" })));
      request.on("response", (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          if (response.statusCode >= 400) {
            reject(new Error(`${operation} answered ${response.statusCode}: ${text.slice(0, 200)}`));
            return;
          }
          try {
            resolve(text ? JSON.parse(text) : {});
          } catch {
            resolve({});
          }
        });
      });
      request.end(data);
    });
  }

  /** `updateContext` with action UPDATE. */
  update(elements) {
    return this.post("updateContext", { contextElements: elements, updateAction: "UPDATE" });
  }

  /** `queryContext`; the entities found, in the form of fromElement. */
  async query(entities, restriction) {
    const answer = await this.post("queryContext", restriction ? { entities, restriction } : { entities });
    return (answer.contextResponses ?? []).map((response) => fromElement(response.contextElement));
  }

  /** `subscribeContext`; the subscription id. */
  async subscribe(entities, reference, attributes = []) {
    const answer = await this.post("subscribeContext", { entities, attributes, reference });
    return answer.subscribeResponse?.subscriptionId ?? "";
  }

  close() {
    this.agent.destroy();
  }
}
