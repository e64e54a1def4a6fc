import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { packageRoot } from '../../common/package-root.js';

export interface PageFile {
  readonly contentType: string;
  readonly body: Buffer;
  readonly etag: string;
}

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** The files of the browser's part (folder web/) by name; those of another kind are left out. */
export function readPageFiles(): ReadonlyMap<string, PageFile> {
  const folder = path.join(packageRoot, 'web');
  return new Map(
    readdirSync(folder).flatMap((name): [string, PageFile][] => {
      const contentType = contentTypes[path.extname(name)];
      if (contentType === undefined) return [];
      const body = readFileSync(path.join(folder, name));
      return [[name, { contentType, body, etag: etagOf(body) }]];
    }),
  );
}

export function etagOf(body: Buffer): string {
  return `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
}
