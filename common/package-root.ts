import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

function findPackageRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(path.join(folder, 'package.json'))) folder = path.dirname(folder);
  return folder;
}

/** The folder of this package's package.json, whether the code runs from sources or from `dist/`. */
export const packageRoot = findPackageRoot();

/** This package's version, as in package.json. */
export const packageVersion = (
  JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')) as { version: string }
).version;
