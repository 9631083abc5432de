'use strict';
// The plain page: four tables that follow the event stream. Values are set as text, never as HTML.
const tables = {
  services: { key: 'name', columns: { Service: (r) => r.name, State: (r) => (r.up ? 'up' : 'down'), Version: (r) => r.version, 'Last error': (r) => r.lastError } },
  workers: { key: 'id', columns: { Worker: (r) => r.id, Engine: (r) => r.Engine, Tasks: (r) => `${r.workload} of ${r.capacity}` } },
  tasks: { key: 'TaskID', columns: { Task: (r) => r.TaskID, State: (r) => r.Status, Worker: (r) => r.Worker, Reason: (r) => r.Reason } },
  entities: { key: 'id', columns: { Entity: (r) => r.id, Type: (r) => r.type, Attributes: (r) => Object.entries(r.attributes).map(([name, a]) => `${name}=${JSON.stringify(a.value)}`).join(' ') } },
};
const state = Object.fromEntries(Object.keys(tables).map((name) => [name, new Map()]));
const dirty = new Set();

function draw() {
  for (const name of dirty) {
    const { columns } = tables[name];
    const table = document.getElementById(name);
    const head = document.createElement('tr');
    for (const title of Object.keys(columns)) head.appendChild(Object.assign(document.createElement('th'), { textContent: title, scope: 'col' }));
    const rows = [...state[name].values()].slice(0, 200).map((record) => {
      const row = document.createElement('tr');
      for (const value of Object.values(columns)) row.appendChild(Object.assign(document.createElement('td'), { textContent: value(record) ?? '' }));
      return row;
    });
    table.replaceChildren(head, ...rows);
  }
  dirty.clear();
}

function put(name, record) { state[name].set(record[tables[name].key], record); dirty.add(name); }

const source = new EventSource('events');
const pill = document.getElementById('connection');
source.onopen = () => { pill.textContent = 'live'; };
source.onerror = () => { pill.textContent = 'reconnecting…'; };
const on = (event, act) => source.addEventListener(event, (message) => act(JSON.parse(message.data)));
on('snapshot', (all) => {
  for (const name of Object.keys(tables)) { state[name].clear(); for (const record of all[name]) put(name, record); dirty.add(name); }
});
on('service', (r) => put('services', r));
on('worker', (r) => put('workers', r));
on('task', (r) => put('tasks', r));
on('entity', (r) => put('entities', r));
on('workerRemoved', (r) => { state.workers.delete(r.id); dirty.add('workers'); });
on('taskRemoved', (r) => { state.tasks.delete(r.TaskID); dirty.add('tasks'); });
on('entityRemoved', (r) => { state.entities.delete(r.id); dirty.add('entities'); });
setInterval(draw, 250);
