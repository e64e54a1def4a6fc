import test from 'ava';
import type { Browser, Page } from 'playwright-core';

import { waitFor } from '../../testbed/wait.js';
import { openPage, startBrowser } from './support/browser.js';
import { FakeFleet } from './support/fake-fleet.js';

let browser: Browser;
test.before(async () => {
  browser = await startBrowser();
});
test.after.always(() => browser.close());

/** From the first byte asked for to the picture on the screen, as the browser counts it. */
async function msToPicture(page: Page): Promise<number> {
  return page.evaluate(() => performance.getEntriesByName('picture')[0]?.startTime ?? Number.NaN);
}

async function startThree(t: Parameters<typeof FakeFleet.start>[0]) {
  const fleet = await FakeFleet.start(t, 200);
  const { world } = fleet.harness;
  const sw0 = world.addSwitch('sw0', { 'neutron:network_name': 'web tier' });
  world.addPort(sw0, 'vm1', {
    addresses: ['02:00:00:00:00:01 10.0.0.1'],
    externalIds: { 'neutron:port_name': 'frontend' },
  });
  world.addPort(sw0, 'vm2', { addresses: ['02:00:00:00:00:02 10.0.0.2'] });
  world.addPort(sw0, 'vm3', { addresses: ['02:00:00:00:00:03 10.0.0.3'] });
  const hv1 = fleet.join('hv1', '192.0.2.1', ['vm1'], ['hv2']);
  const hv2 = fleet.join('hv2', '192.0.2.2', ['vm2'], ['hv1']);
  await fleet.ready();
  return { fleet, hv1, hv2 };
}

test.serial('three ports: where they are, what they carry and drop, and why', async (t) => {
  const { fleet, hv1 } = await startThree(t);
  hv1.traffic.set('vm1', { packets: 1000, bytes: 1_000_000 });
  hv1.drops.set('one', {
    ...{ port: 'vm1', switch: 'sw0', reason: 'port_security_ip4', text: 'not its address', perSecond: 40 },
    ...{ direction: 'from port', packet: 'a > b, IPv4 10.0.0.9 > 10.0.0.2' },
  });
  const { page, complaints } = await openPage(t, browser);
  await page.goto(fleet.url);
  await page.getByText('2 nodes · 1 switch · 3 ports, 2 up').waitFor();
  const row = page.getByRole('row', { name: /web tier/ });
  t.is(await row.locator('td:nth-of-type(1) button.port').getAttribute('data-port'), 'vm1');
  t.is(await row.locator('td:nth-of-type(2) button.port').getAttribute('data-port'), 'vm2');
  t.is(await row.locator('td:nth-of-type(3) button.port').getAttribute('data-state'), 'unplugged');
  t.is(await page.locator('svg.tunnels path[data-state=whole]').count(), 1);

  await page
    .locator('[data-port=vm1] .rates')
    .filter({ hasText: /↑\s[5-9]\.\d\sMbit\/s ↓\s[34]\.\d\sMbit\/s/ })
    .waitFor();
  await page
    .locator('#drops .now')
    .filter({ hasText: /^[2-9]\d\/s$/ })
    .waitFor();

  await page.getByRole('button', { name: 'vm1, frontend, up' }).click();
  await page.getByRole('heading', { name: 'Why vm1 (frontend)' }).waitFor();
  const detail = page.locator('#detail');
  await detail.getByText('vm1 of switch sw0').waitFor();
  await detail.getByText('a > b, IPv4 10.0.0.9 > 10.0.0.2').waitFor();
  await detail.getByText(/lsp-set-port-security vm1/).waitFor();
  t.is(new URL(page.url()).hash, '#port=vm1');
  await page.keyboard.press('Escape');
  t.true(await detail.isHidden());
  t.is(await page.locator(':focus').getAttribute('data-port'), 'vm1', 'back where it was opened');

  await page.getByRole('button', { name: /^hv1/ }).click();
  await detail.getByRole('row', { name: /hv2 geneve/ }).waitFor();
  t.deepEqual(complaints, []);
});

test.serial('by keyboard alone, and by the address of a port', async (t) => {
  const { fleet } = await startThree(t);
  const { page, complaints } = await openPage(t, browser, 'dark');
  await page.goto(`${fleet.url}#port=vm2`);
  await page.getByText('vm2 of switch sw0').waitFor();
  await page.locator('button.port').first().waitFor();
  t.is(await page.locator('#picture button.port[tabindex="0"]').count(), 1, 'Tab stops at one port');
  await page.locator('#picture button.port[tabindex="0"]').focus();
  const focused = () => page.locator(':focus').getAttribute('data-port');
  t.is(await focused(), 'vm1');
  await page.keyboard.press('ArrowRight');
  t.is(await focused(), 'vm2');
  await page.keyboard.press('End');
  t.is(await focused(), 'vm3');
  await page.keyboard.press('/');
  await page.keyboard.type('FRONTEND');
  await page.locator('#search-count').getByText('1 port').waitFor();
  await page.keyboard.press('Enter');
  await page.getByText('vm1 of switch sw0').waitFor();
  t.is(await page.locator(':focus').textContent(), 'Why vm1 (frontend)');
  t.deepEqual(complaints, []);
});

test.serial('names are only text, whatever is in them', async (t) => {
  const fleet = await FakeFleet.start(t, 200);
  const { world } = fleet.harness;
  const hostile = '<img src=x onerror="document.title=\'owned\'">';
  const sw = world.addSwitch(hostile, { 'neutron:network_name': `<script>document.title='owned'</script>` });
  const port = `"'/../${hostile}]&#port=x%00`;
  world.addPort(sw, port, { addresses: [hostile], externalIds: { 'neutron:port_name': hostile } });
  const node = fleet.join(`hv<b>"'`, '192.0.2.1', [port]);
  node.drops.set('one', { port, reason: hostile, text: hostile, packet: hostile, perSecond: 9 });
  await fleet.ready();
  const { page, complaints } = await openPage(t, browser);
  await page.goto(fleet.url);
  await page.locator('#drops').getByText(hostile).first().waitFor();
  await page.locator('#picture button.port').click();
  await page.locator('#detail').getByText(`${port} of switch ${hostile}`).waitFor();
  await page.locator('#detail .name').getByText(hostile).waitFor();
  await page.locator('#search').fill(hostile.toUpperCase());
  await page.locator('#results').getByText(port).waitFor();
  await page.locator('#picture button.node').click();
  await page.getByRole('heading', { name: `Node hv<b>"'` }).waitFor();
  t.is(await page.locator('img, b, main script').count(), 0);
  t.is(await page.title(), 'IOVisor-OVN');
  t.deepEqual(complaints, []);
});

test.serial('the controller, a database and a node that are away are said to be', async (t) => {
  const { fleet, hv1, hv2 } = await startThree(t);
  const { page } = await openPage(t, browser);
  await page.goto(fleet.url);
  await page.getByText(/^live, \d\d:\d\d:\d\d$/).waitFor();
  hv1.silent = true;
  await page
    .locator('[data-node=hv1] .standing')
    .getByText(/^no answer for \d+ s$/)
    .waitFor();
  hv2.leave();
  await page.getByText(/^Node hv2 is gone since \d\d:\d\d:\d\d; its ports go on as they were\.$/).waitFor();
  await page
    .locator('[data-node=hv2] .standing')
    .getByText(/^gone for \d+ s$/)
    .waitFor();
  t.is(await page.locator('[data-port=vm2]').getAttribute('data-state'), 'node_gone');
  t.is(await page.locator('svg.tunnels path[data-state=broken]').count(), 1);
  fleet.harness.world.sb.setStatus({ state: 'backoff', error: 'connection refused' });
  await page.getByText(/no connection to OVN_Southbound \(backing off.*: connection refused\)/).waitFor();
  fleet.close();
  await page.getByText(/^The controller does not answer; this is as of \d\d:\d\d:\d\d\.$/).waitFor();
  t.true(await page.locator('html[data-stale]').isVisible());
  t.is(await page.locator('button.port').count(), 3, 'what was known is still shown');
});

/** Ten switches of a hundred ports over five nodes. */
async function startThousand(t: Parameters<typeof FakeFleet.start>[0]): Promise<FakeFleet> {
  const fleet = await FakeFleet.start(t);
  const nodes = Array.from({ length: 5 }, (_, index) => `compute-${index + 1}`);
  const plugged = new Map(nodes.map((node): [string, string[]] => [node, []]));
  for (let s = 0; s < 10; s += 1) {
    const owner = fleet.harness.world.addSwitch(`net-${s}`);
    const wishes = Array.from({ length: 100 }, (_, p) => {
      const name = `port-${s}-${p}`;
      plugged.get(nodes[p % nodes.length] ?? '')?.push(name);
      const mac = `02:00:00:00:${s.toString(16).padStart(2, '0')}:${p.toString(16).padStart(2, '0')}`;
      const externalIds = { 'neutron:port_name': `vm ${s} ${p}` };
      return [name, { addresses: [`${mac} 10.0.${s}.${p}`], externalIds }] as const;
    });
    fleet.harness.world.addPorts(owner, new Map(wishes));
  }
  for (const [index, name] of nodes.entries()) {
    const node = fleet.join(
      name,
      `192.0.2.${index + 1}`,
      plugged.get(name) ?? [],
      nodes.filter((each) => each !== name),
    );
    for (const port of node.ports) node.traffic.set(port, { packets: 1000, bytes: 100_000 });
  }
  await fleet.ready();
  return fleet;
}

test.serial('a thousand ports: there at once, all with traffic, and found by every name', async (t) => {
  const fleet = await startThousand(t);
  const { page, complaints } = await openPage(t, browser);
  await page.goto(fleet.url);
  await page.getByText('5 nodes · 10 switches · 1,000 ports, 1,000 up').waitFor();
  const ms = await msToPicture(page);
  t.log(`picture of 1,000 ports after ${ms.toFixed(0)} ms`);
  t.true(ms < 8000, `${ms} ms`);
  t.is(await page.locator('button.port').count(), 1000);
  t.is(await page.locator('svg.tunnels path').count(), 10);
  await waitFor(
    'all show traffic',
    async () => (await page.locator('button.port[data-load]').count()) === 1000,
  );

  const search = page.locator('#search');
  const first = page.locator('#results button').first();
  for (const text of ['port-7-42', 'vm 7 42', '02:00:00:00:07:2A', '10.0.7.42', 'net-7 42']) {
    await search.fill(text);
    await first.getByText('port-7-42', { exact: true }).waitFor();
    t.is(await page.locator('[data-port=port-7-42]').getAttribute('data-found'), '', text);
    await search.fill('');
  }
  await search.fill('net-3 compute-2');
  await page.locator('#search-count').getByText('20 ports').waitFor();
  t.is(await page.locator('tbody tr:visible').count(), 1, 'switches without one are hidden');
  await first.click();
  await page.getByText('port-3-1 of switch net-3').waitFor();
  await page.getByRole('button', { name: 'Medium' }).click();
  await page.locator('[data-port=port-3-1] .name').getByText('vm 3 1').waitFor();
  t.deepEqual(complaints, []);
});
