import type { ExecutionContext } from 'ava';
import { type Browser, chromium, type Page } from 'playwright-core';

const executable = '/usr/bin/chromium';

/** A page in a browser of its own, and what it has complained about. */
export interface WatchedPage {
  readonly page: Page;
  /** Errors, and what the Content-Security-Policy has stopped. */
  readonly complaints: string[];
}

/** Debian's Chromium, without a window. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: executable, args: ['--no-sandbox'] });
}

export async function openPage(
  t: Pick<ExecutionContext, 'teardown'>,
  browser: Browser,
  colorScheme: 'light' | 'dark' = 'light',
): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme });
  t.teardown(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  return { page, complaints };
}
