// A designer that stands alone on free ports with its own data directory.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BINARIES = [
  process.env.DESIGNER_BIN,
  '../../../target/debug/fogflow-designer',
  '../../../target/release/fogflow-designer',
];

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Waits until `check` gives something, and says what it saw last when it does not. */
export async function until(what, check, seconds = 10) {
  const end = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < end) {
    try {
      last = await check();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what} did not happen in ${seconds} s; last: ${last}`);
}

export async function designer() {
  const binary = BINARIES.find((path) => path && existsSync(path));
  if (!binary) throw new Error('set DESIGNER_BIN to the program of the designer');
  // Nothing else of the node runs: the ports of the others are closed.
  const [web, agentPort, ...closed] = await Promise.all(Array.from({ length: 5 }, freePort));
  const data = mkdtempSync(join(tmpdir(), 'fogflow-dashboard-'));
  const settings = {
    'designer.webSrvPort': web,
    'designer.agentPort': agentPort,
    'broker.http_port': closed[0],
    'discovery.http_port': closed[1],
    'master.rest_api_port': closed[2],
    'bus.engine': 'inprocess',
  };
  const args = ['--data', data, ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])];
  const base = `http://127.0.0.1:${web}`;
  let child;
  const start = async () => {
    child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    await until('the designer being ready', async () => {
      if (child.exitCode !== null) return 'ended';
      return (await fetch(`${base}/ready`)).ok;
    });
    if (child.exitCode !== null) throw new Error(`the designer ended with code ${child.exitCode}`);
  };
  const halt = () =>
    new Promise((resolve) => {
      child.once('exit', resolve);
      child.kill('SIGTERM');
    });
  await start();
  return {
    base,
    agent: `http://127.0.0.1:${agentPort}`,
    start,
    halt,
    stop: async () => {
      await halt();
      rmSync(data, { recursive: true, force: true });
    },
  };
}
