// What somebody who opens /docs sees and does. tests/browser/run starts what this needs and says where it is.
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';

const { DIRECT, PROXIED, SECRET, SHOTS } = process.env;
const JWT = /^ey[\w-]+\.[\w-]+\.[\w-]+$/;
// Milliseconds until something that does not come counts as missing.
const PATIENCE = 120_000;
const UNAUTHORIZED = { name: 'Unauthorized', message: 'authentication failed', stack: [] };

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    timeout: PATIENCE,
    args: [
      // Whoever asks for another origin finds none, the browser itself included.
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-quic', '--no-first-run',
      ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
    ],
  });
});
after(() => browser.close());

// A new browser profile's page; `seen` collects what must not be there, whatever is done with the page.
async function open(t, url, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const seen = [];
  const { origin } = new URL(url);
  page.on('request', (request) => {
    const { protocol, origin: asked } = new URL(request.url());
    if (protocol !== 'data:' && asked !== origin) seen.push(`request: ${request.url()}`);
  });
  page.on('pageerror', (error) => seen.push(`error: ${error}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.push(`${message.type()}: ${message.text()}`);
  });
  await page.exposeFunction('violated', (violation) => seen.push(`policy: ${violation}`));
  await page.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) => {
    window.violated(`${event.violatedDirective} ${event.blockedURI}`);
  }));
  await prepare(page);
  const response = await page.goto(url);
  await page.locator('#operations-Token-createToken').waitFor().catch(() => assert.fail(`no page: ${seen.join('; ')}`));
  return { page, seen, response };
}

// The button Authorize, one scheme of the dialog, and back; without values it logs out.
async function authorize(page, scheme, ...values) {
  await page.locator('.btn.authorize').first().click();
  const one = page.locator('.auth-container', { has: page.locator(`h4 code:text-is("${scheme}")`) });
  if (values.length === 0) {
    await one.getByRole('button', { name: 'Remove authorization' }).click();
    await one.locator('input').first().waitFor();
  } else {
    for (const [index, value] of values.entries()) await one.locator('input').nth(index).fill(value);
    await one.getByRole('button', { name: 'Apply credentials' }).click();
    await one.getByRole('button', { name: 'Remove authorization' }).waitFor();
  }
  await page.locator('.modal-ux .close-modal').click();
  await page.locator('.modal-ux').waitFor({ state: 'detached' });
}

// Opens an operation, tries it out and executes it as it stands there; the status and the body that the page shows.
async function execute(page, id) {
  const operation = page.locator(`[id^="operations-"][id$="-${id}"]`);
  if (!await operation.locator('.opblock-body').isVisible()) await operation.locator('.opblock-summary-control').click();
  // The body comes a moment after the click.
  await operation.locator('.try-out__btn').first().waitFor();
  const start = operation.locator('.try-out__btn:not(.cancel, .reset)');
  if (await start.count() > 0) await start.click();
  const clear = operation.locator('.btn-clear');
  if (await clear.count() > 0) await clear.click();
  await operation.locator('.execute').click();
  const shown = operation.locator('.live-responses-table .response');
  await shown.locator('.microlight').first().waitFor();
  const status = Number.parseInt(await shown.locator('.response-col_status').innerText(), 10);
  return { status, body: JSON.parse(await shown.locator('.microlight').first().innerText()) };
}

async function createAndInspect(page) {
  await authorize(page, 'basic', 'demo', SECRET);
  const created = await execute(page, 'createToken');
  assert.equal(created.status, 200);
  assert.match(created.body.value, JWT);
  assert.match(created.body.refresh, JWT);
  await authorize(page, 'bearer', created.body.value);
  const inspected = await execute(page, 'inspectToken');
  assert.equal(inspected.status, 200);
  assert.equal(inspected.body.subject, 'demo');
  assert.deepEqual(inspected.body.scope, ['demo:read', 'demo:write']);
  return created.body;
}

// How often the browser would ask for a password, were anybody before it. `html`, if given, is what it gets as /docs.
async function dialogs(page, html) {
  const devtools = await page.context().newCDPSession(page);
  let count = 0;
  devtools.on('Fetch.authRequired', ({ requestId }) => {
    count += 1;
    devtools.send('Fetch.continueWithAuth', { requestId, authChallengeResponse: { response: 'CancelAuth' } });
  });
  devtools.on('Fetch.requestPaused', ({ requestId, request }) => {
    if (!html || new URL(request.url).pathname !== '/docs') return devtools.send('Fetch.continueRequest', { requestId });
    const body = Buffer.from(html).toString('base64');
    const responseHeaders = [{ name: 'Content-Type', value: 'text/html; charset=utf-8' }];
    return devtools.send('Fetch.fulfillRequest', { requestId, responseCode: 200, responseHeaders, body });
  });
  await devtools.send('Fetch.enable', { handleAuthRequests: true });
  return () => count;
}

test('/docs asks no other origin and breaks no rule', async (t) => {
  const { page, seen, response } = await open(t, `${DIRECT}/docs`);
  assert.equal(page.url(), `${DIRECT}/docs`);
  assert.equal(await response.headerValue('content-encoding'), 'gzip');
  assert.match(await response.headerValue('content-security-policy'), /^default-src 'none'; script-src 'sha256-/);
  await page.waitForLoadState('networkidle');
  await page.screenshot({ path: `${SHOTS}/docs.png` });
  assert.deepEqual(seen, []);
});

test('the page has a title, an icon that is drawn, and links to the specification', async (t) => {
  const { page, seen } = await open(t, `${DIRECT}/docs`);
  assert.equal(await page.title(), 'lingpai 令牌');
  const width = await page.evaluate(async () => {
    const image = new Image();
    image.src = document.querySelector('link[rel=icon]').href;
    await image.decode();
    return image.naturalWidth;
  });
  assert.ok(width > 0);
  for (const name of ['openapi.json', 'openapi.yaml']) {
    const href = await page.getByRole('link', { name }).evaluate((link) => link.href);
    assert.equal(href, `${DIRECT}/${name}`);
    assert.equal((await fetch(href)).status, 200);
  }
  assert.deepEqual(seen, []);
});

test('the page is compressed for those who take it, and the same for those who do not', async () => {
  const ask = (encoding) => new Promise((resolve, reject) => {
    get(`${DIRECT}/docs`, { headers: { 'Accept-Encoding': encoding } }, async (response) => {
      resolve({ coding: response.headers['content-encoding'], body: Buffer.concat(await response.toArray()) });
    }).on('error', reject);
  });
  const [plain, gzip] = [await ask('identity'), await ask('gzip')];
  assert.equal(plain.coding, undefined);
  assert.equal(gzip.coding, 'gzip');
  assert.ok(gunzipSync(gzip.body).equals(plain.body));
  assert.ok(gzip.body.length < plain.body.length / 3, `${gzip.body.length} of ${plain.body.length} bytes`);
});

test('without credentials the token is anonymous', async (t) => {
  const { page, seen } = await open(t, `${DIRECT}/docs`);
  const created = await execute(page, 'createToken');
  assert.equal(created.status, 200);
  assert.match(created.body.value, JWT);
  // The picture is of this call because its curl line shows nobody's secret.
  await page.setViewportSize({ width: 1280, height: 1380 });
  await page.locator('#operations-Token-createToken').evaluate((element) => element.scrollIntoView());
  await page.screenshot({ path: `${SHOTS}/operation.png` });
  assert.deepEqual(seen, []);
});

test('a token is created, inspected and refreshed with each way to present it', async (t) => {
  const { page, seen } = await open(t, `${DIRECT}/docs`);
  const { value, refresh } = await createAndInspect(page);
  await authorize(page, 'bearer');
  await authorize(page, 'token', `Token ${value}`);
  const inspected = await execute(page, 'inspectToken');
  assert.equal(inspected.status, 200);
  assert.equal(inspected.body.subject, 'demo');

  await authorize(page, 'token');
  await authorize(page, 'token', `Token ${refresh}`);
  const refreshed = await execute(page, 'refreshToken');
  assert.equal(refreshed.status, 200);
  assert.match(refreshed.body.value, JWT);

  await authorize(page, 'token');
  await authorize(page, 'bearer', refreshed.body.refresh);
  const again = await execute(page, 'refreshToken');
  assert.equal(again.status, 200);
  assert.notEqual(again.body.value, refreshed.body.value);
  assert.deepEqual(seen, []);
});

test('Authorize gets a token by client credentials, and Try it out uses it', async (t) => {
  let count;
  const { page, seen } = await open(t, `${DIRECT}/docs`, async (page) => { count = await dialogs(page); });
  await page.locator('.auth-wrapper .authorize').first().click();
  const flow = page.locator('.modal-ux .auth-container').filter({ hasText: 'clientCredentials' });
  await flow.locator('#client_id').or(flow.locator('#client_id_clientCredentials')).first().fill('demo');
  await flow.locator('#client_secret').or(flow.locator('#client_secret_clientCredentials')).first().fill(SECRET);
  await flow.getByRole('button', { name: 'Apply given OAuth2 credentials' }).or(flow.locator('button.authorize')).first().click();
  await flow.getByRole('button', { name: 'Remove authorization' }).or(flow.locator('button', { hasText: 'Logout' })).first().waitFor();
  await page.locator('.modal-ux .close-modal').click();
  const inspected = await execute(page, 'inspectToken');
  assert.equal(inspected.status, 200);
  assert.deepEqual([inspected.body.client, inspected.body.scope], ['demo', ['demo:read', 'demo:write']]);
  assert.equal(count(), 0);
  assert.deepEqual(seen, []);
});

test('a form is sent as it stands, and the curl lines name this server', async (t) => {
  const { page, seen } = await open(t, `${DIRECT}/docs`);
  await authorize(page, 'basic', 'demo', SECRET);
  const got = await execute(page, 'oauthToken');
  assert.equal(got.status, 200, JSON.stringify(got.body));
  assert.equal(got.body.scope, 'demo:read demo:write');
  const operation = page.locator('[id$="-oauthIntrospect"]');
  await operation.locator('.opblock-summary-control').click();
  await operation.locator('.try-out__btn').click();
  await operation.locator('[data-property-name="token"] input').fill(got.body.access_token);
  const told = await execute(page, 'oauthIntrospect');
  await operation.screenshot({ path: `${SHOTS}/form.png` });
  assert.deepEqual([told.status, told.body.active, told.body.client_id], [200, true, 'demo']);
  await page.setViewportSize({ width: 1280, height: 1380 });
  await operation.evaluate((element) => element.scrollIntoView());
  await page.screenshot({ path: `${SHOTS}/form.png` });
  const text = await page.locator('#ui').innerText();
  assert.ok(text.includes(`${DIRECT}/oauth2/introspect`) && !text.includes('127.0.0.1:8080'));
  assert.deepEqual(seen, []);
});

test('a lock looks open until there are credentials', async (t) => {
  const { page } = await open(t, `${DIRECT}/docs`);
  const locks = page.locator('.opblock svg.unlocked');
  assert.equal(await locks.count(), 5);
  await authorize(page, 'basic', 'demo', SECRET);
  assert.equal(await locks.count(), 2);
});

test('wrong credentials show the 401 in the page, and never the browser\'s own dialog', async (t) => {
  let count;
  const { page } = await open(t, `${DIRECT}/docs`, async (page) => { count = await dialogs(page); });
  await authorize(page, 'basic', 'demo', 'wrong');
  assert.deepEqual(await execute(page, 'createToken'), { status: 401, body: UNAUTHORIZED });
  await authorize(page, 'bearer', 'wrong');
  assert.deepEqual(await execute(page, 'inspectToken'), { status: 401, body: UNAUTHORIZED });
  assert.equal(count(), 0);
});

test('control: without the interceptor\'s `omit` that check counts the dialog', async (t) => {
  let count;
  const omit = "request.credentials = 'omit'; ";
  const html = await (await fetch(`${DIRECT}/docs`)).text();
  assert.ok(html.includes(omit), 'the interceptor is not written as this test expects');
  const { page } = await open(t, `${DIRECT}/docs`, async (page) => { count = await dialogs(page, html.replace(omit, '')); });
  await authorize(page, 'basic', 'demo', 'wrong');
  assert.equal((await execute(page, 'createToken')).status, 401);
  assert.ok(count() >= 1);
});

test('behind nginx under a prefix everything works as well', async (t) => {
  const { page, seen } = await open(t, `${PROXIED}/docs`);
  await page.goto(`${PROXIED}/`);
  assert.ok((await page.locator('h1').innerText()).startsWith('lingpai'));
  await page.getByRole('link', { name: 'docs', exact: true }).click();
  await page.locator('#operations-Token-createToken').waitFor();
  assert.equal(page.url(), `${PROXIED}/docs`);
  await createAndInspect(page);
  const shown = await page.locator('#operations-Token-createToken .request-url').innerText();
  assert.ok(shown.includes(`${PROXIED}/token`), shown);
  assert.deepEqual(seen, []);
});
