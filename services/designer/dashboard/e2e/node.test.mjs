// The main job against a whole running node (BASE_URL): write a function, run it, see its results. Nothing is simulated.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, newPage } from './browser.mjs';
import { post } from './seed.mjs';

const base = process.env.BASE_URL?.replace(/\/$/, '');
const skip = base ? false : 'BASE_URL names no running node';
const stamp = Date.now().toString(36);
let browser;

before(async () => {
  if (base) browser = await launch();
});
after(() => browser?.close());

function update(id, type, attributes, updateAction = 'UPDATE') {
  const list = Object.entries(attributes).map(([name, value]) => ({ name, type: 'float', value }));
  return post(base, 'ngsi10/updateContext', {
    contextElements: [{ entityId: { id, type, isPattern: false }, attributes: list }],
    updateAction,
  });
}

for (const [language, source] of [
  [
    'Python',
    'def handleEntity(entity, publish):\n    print("called")\n    publish({"attributes": {"doubled": 2 * entity["attributes"]["n"]["value"]}})\n',
  ],
  [
    'JavaScript',
    'export async function handler(entity, publish) {\n  console.log("called");\n  await publish({ attributes: { doubled: 2 * entity.attributes.n.value } });\n}\n',
  ],
]) {
  test(`a ${language} function written in the page runs, logs and publishes`, { skip }, async () => {
    const name = `e2e-${language.toLowerCase()}-${stamp}`;
    const [input, output] = [`In${language}${stamp}`, `Out${language}${stamp}`];
    await update(`${input}.1`, input, { n: 4 });
    const { page, complaints, close } = await newPage(browser, base);
    page.setDefaultTimeout(30_000);
    await page.goto(`${base}/index.html#/functions/new`);
    await page.getByRole('status', { name: 'Connection: Live' }).waitFor();
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill(name);
    await page.getByText(language, { exact: true }).click();
    await page.getByRole('combobox', { name: 'Input type' }).fill(input);
    await page.getByRole('textbox', { name: 'Output type' }).fill(output);
    await page.getByRole('textbox', { name: 'Function' }).fill(source);
    await page.getByRole('button', { name: 'Run' }).click();
    try {
      await page.getByRole('heading', { level: 1, name }).waitFor();
      await page
        .getByRole('row', { name: new RegExp(`Task\\.${name}\\.main`) })
        .getByText('running')
        .waitFor();
      await page.getByRole('cell', { name: '8', exact: true }).waitFor();
      await page
        .getByRole('region', { name: /^Log of / })
        .getByText('called')
        .first()
        .waitFor();
      await update(`${input}.1`, input, { n: 21 });
      await page.getByRole('cell', { name: '42', exact: true }).waitFor();
      await page.getByRole('img', { name: /Chart of doubled/ }).waitFor();
      await page.getByRole('button', { name: 'Delete' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
      await page.getByRole('heading', { level: 1, name: 'Functions' }).waitFor();
      await page.getByRole('link', { name: 'Tasks' }).click();
      await page.getByRole('row', { name: new RegExp(name) }).waitFor({ state: 'detached' });
    } finally {
      await fetch(`${base}/fogfunction/${name}`, { method: 'DELETE' });
      await fetch(`${base}/operator/${name}`, { method: 'DELETE' });
      await update(`${input}.1`, input, {}, 'DELETE');
      await close();
    }
    assert.deepEqual(complaints, []);
  });
}

test('the overview shows the services of a healthy node', { skip }, async () => {
  const { page, complaints, close } = await newPage(browser, base);
  await page.goto(`${base}/index.html`);
  for (const service of ['broker', 'discovery', 'designer', 'master']) {
    await page
      .getByRole('list', { name: 'Services' })
      .getByRole('listitem')
      .filter({ hasText: service })
      .getByText('up')
      .waitFor();
  }
  await close();
  assert.deepEqual(complaints, []);
});
