/** @import { ApiError, Live, Topology } from '../controller/web/shapes.js' */
/** @import { WhyPage } from '../inspect/why.js' */

const timeoutMs = 8000;

/**
 * @param {string} path
 * @returns {Promise<Response>}
 */
async function get(path) {
  const response = await fetch(path, { cache: 'no-cache', signal: AbortSignal.timeout(timeoutMs) });
  if (response.ok) return response;
  const text = await response.text();
  if (response.headers.get('content-type') !== 'application/json')
    throw new Error(`${response.status} ${text}`);
  throw new Error(/** @type {ApiError} */ (JSON.parse(text)).error);
}

/** @type {{ etag: string | null, topology: Topology } | undefined} */
let known;

/**
 * The same object as before when nothing has changed. Rejects when the controller does not answer.
 *
 * @returns {Promise<Topology>}
 */
export async function readTopology() {
  const response = await get('api/topology');
  const etag = response.headers.get('etag');
  if (known !== undefined && etag !== null && known.etag === etag) {
    await response.body?.cancel();
    return known.topology;
  }
  const topology = /** @type {Topology} */ (await response.json());
  known = { etag, topology };
  return topology;
}

/**
 * Rejects when the controller does not answer.
 *
 * @returns {Promise<Live>}
 */
export async function readLive() {
  const response = await get('api/live');
  return /** @type {Live} */ (await response.json());
}

/**
 * Rejects when there is no such port, with a text for people, and when the controller does not answer.
 *
 * @param {string} port
 * @returns {Promise<WhyPage>}
 */
export async function readWhy(port) {
  const response = await get(`api/why?port=${encodeURIComponent(port)}`);
  return /** @type {WhyPage} */ (await response.json());
}
