/** The scraper, in a process of its own: fetches each URL that it is told, and answers with a Fetched. */

export interface Fetched {
  readonly ms: number;
  readonly bytes: number;
}

process.on('message', (url: string) => {
  const startMs = performance.now();
  void fetch(url)
    .then((response) => response.arrayBuffer())
    .then(({ byteLength }) => process.send?.({ ms: performance.now() - startMs, bytes: byteLength }));
});
process.on('disconnect', () => process.exit());
