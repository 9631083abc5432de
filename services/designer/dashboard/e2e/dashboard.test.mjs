// The dashboard in a real browser, by roles and names as people and screen readers find things.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test as nodeTest } from 'node:test';
import { launch, newPage } from './browser.mjs';
import { designer, until } from './designer.mjs';
import { notify, post, report, seed, task, worker } from './seed.mjs';

const VIEWS = [
  'Overview',
  'Functions',
  'Tasks',
  'Entities',
  'Operators',
  'Topologies',
  'Intents',
  'Devices',
  'Subscriptions',
  'System',
];
// They play master and broker, so they need a designer of their own.
const skip = process.env.BASE_URL ? 'BASE_URL names a running node; see node.test.mjs' : false;
const test = (name, body) => nodeTest(name, { skip }, body);
let node;
let browser;
let page;
let complaints;
let close;

before(async () => {
  if (skip) return;
  node = await designer();
  browser = await launch();
  await seed(node);
});
after(async () => {
  await browser?.close();
  await node?.stop();
});
beforeEach(async () => {
  if (skip) return;
  ({ page, complaints, close } = await newPage(browser, node.base));
  page.setDefaultTimeout(10_000);
});
afterEach(async () => {
  if (skip) return;
  await close?.();
  // Among them every breach of the content security policy.
  assert.deepEqual(complaints, []);
});

const open = async (hash) => {
  await page.goto(`${node.base}/index.html${hash}`);
  await page.getByRole('status', { name: 'Connection: Live' }).waitFor();
};
const see = (text) => page.getByText(text).first().waitFor();

test('every view opens from the menu, has a heading, and names every control', async () => {
  await open('#/overview');
  for (const view of VIEWS) {
    await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: view }).click();
    await page.getByRole('heading', { level: 1, name: view }).waitFor();
    const nameless = await page.evaluate(() =>
      [
        ...document.querySelectorAll(
          'button, a[href], input:not([type=hidden]):not([type=file]), select, textarea, [role=button]',
        ),
      ]
        .filter((element) => element.checkVisibility())
        .filter(
          (element) =>
            !(
              element.textContent.trim() ||
              element.getAttribute('aria-label') ||
              element.getAttribute('aria-labelledby') ||
              element.labels?.length
            ),
        )
        .map((element) => element.outerHTML.slice(0, 120)),
    );
    assert.deepEqual(nameless, [], view);
  }
});

test('a task that starts and fails is seen without a reload, on its page and under what needs attention', async () => {
  await open('#/tasks');
  const late = (change) => report(node.base, { full: false, tasks: [task('late', change)] });
  await late({ Status: 'starting' });
  const row = page.getByRole('row', { name: /Task\.anomaly\.main\.late/ });
  await row.getByText('starting').waitFor();
  await late({ Status: 'failed', Reason: 'exit code 7' });
  await row.getByText('exit code 7').waitFor();
  await page.getByRole('link', { name: 'Overview' }).click();
  await see('Task Task.anomaly.main.late failed');
  await report(node.base, { full: false, removedTasks: ['Task.anomaly.main.late'] });
  await page.getByRole('link', { name: 'Task Task.anomaly.main.late failed' }).waitFor({ state: 'detached' });
});

test('D 10: what an entity holds is shown as text, never run', async () => {
  let dialogs = 0;
  page.on('dialog', (dialog) => {
    dialogs++;
    dialog.dismiss();
  });
  const evil = '<img src=x onerror=alert(1)><script>alert(2)</script>';
  await notify(node.agent, 'Evil.1', 'Evil', { text: evil, "<b onclick='x'>": 'name' });
  await open('#/entities/Evil.1');
  await see(evil);
  await open('#/entities?filter=Evil');
  await page.getByRole('row', { name: /Evil\.1/ }).waitFor();
  assert.equal(await page.locator('main img, main script, main b').count(), 0);
  assert.equal(dialogs, 0);
});

test('numbers of an entity are drawn as a chart that follows them', async () => {
  await open('#/entities/WeatherStation.Seattle.1');
  await page.getByRole('img', { name: /Chart of temp_max, temp_min, precipitation/ }).waitFor();
  await notify(node.agent, 'WeatherStation.Seattle.1', 'WeatherStation', { temp_max: 31.25 });
  await page.getByRole('table', { name: 'Attributes of WeatherStation.Seattle.1' }).getByText('31.25').waitFor();
});

test('a function is written, run, and followed to its results', async () => {
  const name = `hottest${Date.now()}`;
  await open('#/functions');
  await page.getByRole('link', { name: 'New function' }).click();
  await page.getByRole('button', { name: 'Run' }).click();
  await see('Which entities shall it be called with?');
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill(name);
  await page.getByRole('combobox', { name: 'Input type' }).fill('WeatherStation');
  await page.getByRole('textbox', { name: 'Output type' }).fill('Hottest');
  await page
    .getByRole('textbox', { name: 'Function' })
    .fill('def handleEntity(entity, publish):\n    publish({"attributes": {"max": 1}})\n');
  await page.getByRole('button', { name: 'Run' }).click();
  await page.getByRole('heading', { level: 1, name }).waitFor();
  await see('Waiting for data');
  const registry = await (await fetch(`${node.base}/internal/registry`)).json();
  const intent = registry.intents.find((one) => one.topology === name);
  assert.equal(registry.operators.find((one) => one.name === name).code.language, 'python');
  const id = `Task.${name}.main.1`;
  await report(node.base, {
    full: false,
    tasks: [
      task('x', {
        TaskID: id,
        ID: id,
        TopologyName: name,
        ServiceIntentID: intent.id,
        Outputs: [{ Type: 'Hottest', StreamID: 'Hottest.1.1' }],
      }),
    ],
  });
  await page
    .getByRole('row', { name: new RegExp(id.replaceAll('.', '\\.')) })
    .getByText('running')
    .waitFor();
  await notify(node.agent, 'Hottest.1.1', 'Hottest', { max: 17.5 });
  await page.getByRole('table', { name: 'Attributes of Hottest.1.1' }).getByText('17.5').waitFor();

  await page.getByRole('button', { name: 'Disable' }).click();
  await page.getByRole('button', { name: 'Enable' }).waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('heading', { level: 1, name: 'Functions' }).waitFor();
  await until(
    'the function being deleted',
    async () => (await fetch(`${node.base}/fogfunction/${name}`)).status === 404,
  );
});

test('the designer’s refusal of a function is shown with its reason', async () => {
  await open('#/functions/new');
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill('weather');
  await page.getByRole('combobox', { name: 'Input type' }).fill('A');
  await page.getByRole('textbox', { name: 'Output type' }).fill('B');
  await page.getByRole('button', { name: 'Run' }).click();
  await page.getByRole('alert').getByText('a service has the name "weather" already').waitFor();
});

test('a topology is made in the form and run with a circle given as numbers', async () => {
  const name = `topology${Date.now()}`;
  await open('#/topologies');
  await page.getByRole('button', { name: 'New topology' }).click();
  const form = page.getByRole('dialog');
  await form.getByRole('textbox', { name: 'Name', exact: true }).fill(name);
  await form.getByRole('combobox', { name: 'Operator of task 1' }).click();
  await page.getByRole('option', { name: 'counter' }).click();
  await form.getByRole('combobox', { name: 'Input type 1 of task 1' }).fill('WeatherStation');
  await form.getByRole('combobox', { name: 'Output types of task 1' }).fill('Count');
  await page.keyboard.press('Enter');
  await form.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { level: 2, name }).waitFor();

  await page.getByRole('button', { name: 'Run it' }).click();
  const intent = page.getByRole('dialog');
  await intent.getByRole('combobox', { name: 'Where' }).click();
  await page.getByRole('option', { name: 'Within a circle' }).click();
  await intent.getByRole('textbox', { name: 'Radius in metres' }).fill('2500');
  await intent.getByRole('textbox', { name: 'Latitude of the centre' }).fill('47.6');
  await intent.getByRole('textbox', { name: 'Longitude of the centre' }).fill('-122.3');
  await intent.getByRole('button', { name: 'Run', exact: true }).click();
  await page.getByRole('heading', { level: 1, name: 'Intents' }).waitFor();
  await page
    .getByRole('row', { name: new RegExp(name) })
    .getByText('2500 m around 47.6, -122.3')
    .waitFor();
  const stored = await (await fetch(`${node.base}/intent/topology/${name}`)).json();
  assert.deepEqual(stored[0].geoscope.scopeValue, { centerLatitude: 47.6, centerLongitude: -122.3, radius: 2500 });
});

test('an operator, a device and a subscription are registered and deleted by their forms', async () => {
  await open('#/operators');
  await page.getByRole('button', { name: 'New operator' }).click();
  await page.getByRole('textbox', { name: 'Name', exact: true }).fill('byhand');
  await page.getByRole('textbox', { name: 'Image' }).fill('fogflow/byhand');
  await page.getByRole('button', { name: 'Register' }).click();
  await page.getByRole('table', { name: 'Images of byhand' }).getByText('fogflow/byhand').waitFor();
  await page.getByRole('button', { name: 'Delete byhand' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('link', { name: 'byhand' }).waitFor({ state: 'detached' });

  await open('#/devices');
  await page.getByRole('button', { name: 'New device' }).first().click();
  await page.getByRole('textbox', { name: 'Device id' }).fill('Device.Temperature.e2e');
  await page.getByRole('textbox', { name: 'Latitude' }).fill('47.6');
  await page.getByRole('textbox', { name: 'Longitude' }).fill('-122.3');
  await page.getByRole('button', { name: 'Register' }).click();
  await page.getByRole('row', { name: /Device\.Temperature\.e2e/ }).waitFor();
  await page.getByRole('button', { name: 'Delete Device.Temperature.e2e' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('row', { name: /Device\.Temperature\.e2e/ }).waitFor({ state: 'detached' });

  await open('#/subscriptions');
  await page.getByRole('button', { name: 'New subscription' }).first().click();
  await page.getByRole('combobox', { name: 'Entity type' }).fill('Anomaly');
  await page.getByRole('textbox', { name: 'Sent to' }).fill('http://127.0.0.1:9/e2e');
  await page.getByRole('button', { name: 'Subscribe' }).click();
  const row = page.getByRole('row', { name: /127\.0\.0\.1:9\/e2e/ });
  await row.waitFor();
  await row.getByRole('button', { name: /^End / }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'End it' }).click();
  await row.waitFor({ state: 'detached' });
});

test('keys: / filters, the filter is in the address, g and a letter go, ? helps', async () => {
  await open('#/tasks');
  await page.keyboard.press('/');
  await page.keyboard.type('main.2');
  await page.getByRole('row', { name: /anomaly\.main\.1/ }).waitFor({ state: 'detached' });
  assert.match(page.url(), /filter=main\.2/);
  await page.reload();
  assert.equal(await page.getByRole('searchbox', { name: 'Filter tasks' }).inputValue(), 'main.2');
  await page.getByRole('searchbox', { name: 'Filter tasks' }).fill('no such task');
  await page.getByRole('button', { name: 'Clear the filter' }).click();
  await page.getByRole('row', { name: /anomaly\.main\.1/ }).waitFor();
  await page.locator('body').press('g');
  await page.keyboard.press('e');
  await page.getByRole('heading', { level: 1, name: 'Entities' }).waitFor();
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keys' }).waitFor();
});

test('a registry change made elsewhere is seen without a reload', async () => {
  await open('#/operators');
  const name = `elsewhere${Date.now()}`;
  await post(node.base, 'operator', { name, dockerimages: [] });
  await page.getByRole('link', { name }).waitFor();
  await fetch(`${node.base}/operator/${name}`, { method: 'DELETE' });
  await page.getByRole('link', { name }).waitFor({ state: 'detached' });
});

test('the page says when it is cut off, and is live again when the designer is back', async () => {
  await open('#/functions');
  await node.halt();
  await page.getByRole('status', { name: /Reconnecting|Stale/ }).waitFor();
  await see('anomaly');
  await node.start();
  await page.getByRole('status', { name: 'Connection: Live' }).waitFor({ timeout: 20_000 });
  // What the master reports after the restart appears on the same page.
  await page.getByRole('link', { name: 'System' }).click();
  await report(node.base, { workers: [worker('Worker.back')] });
  await page.getByRole('row', { name: /Worker\.back/ }).waitFor();
});
