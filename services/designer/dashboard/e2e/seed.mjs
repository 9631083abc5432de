// Fills a designer that stands alone, over the routes that masters and brokers use, so that every view has something to show.
export async function post(base, path, body) {
  const response = await fetch(`${base}/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${text}`);
  return text;
}

export function task(n, change = {}) {
  const id = `Task.anomaly.main.${n}`;
  return {
    TaskID: id,
    ID: id,
    TopologyName: 'anomaly',
    TaskName: 'main',
    ServiceIntentID: 'ServiceIntent.anomaly',
    Status: 'running',
    Worker: 'Worker.001',
    Operator: 'anomaly',
    Since: new Date().toISOString(),
    Restarts: 0,
    Inputs: [{ Type: 'WeatherStation', ID: `WeatherStation.Seattle.${n}` }],
    Outputs: [{ Type: 'Anomaly', StreamID: `Anomaly.${n}.1` }],
    ...change,
  };
}

export function worker(id, change = {}) {
  return {
    id,
    location: { latitude: 47.6, longitude: -122.3 },
    os: 'linux',
    hardware: 'amd64',
    capacity: 8,
    workload: 2,
    Engine: 'process',
    Languages: ['python', 'javascript'],
    Last_Heartbeat_Update: new Date().toISOString(),
    ...change,
  };
}

export function report(base, change = {}) {
  return post(base, 'internal/report', {
    master: 'Master.001',
    epoch: 1,
    full: true,
    intents: [],
    tasks: [],
    workers: [],
    ...change,
  });
}

/** A notification as the cloud broker sends it. */
export function notify(agent, id, type, attributes, metadata = {}) {
  const list = (items) => Object.entries(items).map(([name, value]) => ({ name, type: typeOf(value), value }));
  return post(agent, 'notifyContext', {
    subscriptionId: '',
    contextResponses: [
      {
        contextElement: { entityId: { id, type }, attributes: list(attributes), domainMetadata: list(metadata) },
        statusCode: { code: 200 },
      },
    ],
  });
}

function typeOf(value) {
  if (typeof value === 'number') return 'float';
  return typeof value === 'object' ? 'point' : 'string';
}

export async function seed({ base, agent }) {
  await post(base, 'operator', [
    {
      name: 'anomaly',
      description: 'Finds unusual measurements',
      parameters: [{ name: 'threshold', value: '3' }],
      code: { language: 'python', source: 'def handleEntity(entity, publish):\n    pass\n' },
    },
    {
      name: 'counter',
      description: 'Counts',
      dockerimages: [{ name: 'fogflow/counter', tag: 'latest', hwType: 'X86', osType: 'Linux' }],
    },
  ]);
  await post(base, 'fogfunction', [
    {
      name: 'anomaly',
      topology: {
        name: 'anomaly',
        tasks: [
          {
            name: 'main',
            operator: 'anomaly',
            input_streams: [
              { selected_type: 'WeatherStation', selected_attributes: [], groupby: 'EntityID', scoped: false },
            ],
            output_streams: [{ entity_type: 'Anomaly' }],
          },
        ],
      },
      intent: { id: 'ServiceIntent.anomaly', topology: 'anomaly' },
    },
  ]);
  await post(base, 'service', [
    {
      topology: {
        name: 'weather',
        description: 'Sums the precipitation of each station',
        tasks: [
          {
            name: 'sum',
            operator: 'counter',
            input_streams: [
              { selected_type: 'WeatherStation', selected_attributes: [], groupby: 'EntityID', scoped: true },
            ],
            output_streams: [{ entity_type: 'WeatherSum' }],
          },
          {
            name: 'forward',
            operator: 'counter',
            input_streams: [{ selected_type: 'WeatherSum', selected_attributes: [], groupby: 'ALL', scoped: false }],
            output_streams: [{ entity_type: 'WeatherReport' }],
          },
        ],
      },
    },
  ]);
  await post(base, 'intent', {
    id: 'ServiceIntent.weather',
    topology: 'weather',
    qos: 'MIN_LATENCY',
    geoscope: { scopeType: 'circle', scopeValue: { centerLatitude: 47.6, centerLongitude: -122.3, radius: 5000 } },
  });
  await report(base, {
    intents: [
      { id: 'ServiceIntent.anomaly', status: 'active' },
      {
        id: 'ServiceIntent.weather',
        status: 'failed',
        reason: 'operator counter has no executable or code for the process engine of Worker.001',
      },
    ],
    tasks: [
      task(1),
      task(2, { Worker: 'Worker.002' }),
      task(3, {
        Status: 'failed',
        Reason: 'exit code 1 after 0.2 s: ModuleNotFoundError: No module named numpy',
        Restarts: 4,
      }),
    ],
    workers: [worker('Worker.001'), worker('Worker.002')],
  });
  const location = { location: { latitude: 47.6, longitude: -122.3 } };
  for (let day = 0; day < 40; day++) {
    for (const n of [1, 2, 3]) {
      await notify(
        agent,
        `WeatherStation.Seattle.${n}`,
        'WeatherStation',
        {
          temp_max: 12 + n + 6 * Math.sin(day / 5),
          temp_min: 5 + n + 4 * Math.sin(day / 5),
          precipitation: Math.max(0, 10 * Math.sin(day / 3)),
          weather: day % 3 ? 'rain' : 'sun',
        },
        location,
      );
    }
    if (day % 4 === 0)
      await notify(agent, 'Anomaly.1.1', 'Anomaly', {
        station: 'WeatherStation.Seattle.1',
        attribute: 'precipitation',
        value: 20 + 8 * Math.sin(day),
        usual: 6.1,
        deviations: 3 + Math.abs(Math.sin(day)),
      });
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}
