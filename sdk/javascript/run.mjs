#!/usr/bin/env node
// `node run.mjs [-o] [FUNCTION]` serves a handler; `--once ENTITY.json` calls it once and prints what it publishes.

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { fromElement, loadHandler, serve, Task } from "./task.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { operation: { type: "boolean", short: "o" }, once: { type: "string" } },
});

try {
  const handler = await loadHandler(positionals[0] ?? "function.mjs");
  if (values.once) {
    const given = JSON.parse(await readFile(values.once, "utf8"));
    const task = new Task(handler);
    task.broker = { update: async ([element]) => console.log(JSON.stringify(element)) };
    const element = Array.isArray(given.attributes) ? given : undefined;
    await handler(element ? fromElement(element) : given, (entity) => task.publish(entity));
  } else {
    await serve(handler);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
