const removed = '[removed]';

const pem = /-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----/gs;
const userOfUrl = /([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi;
/** `name=value` and `"name": "value"`. */
const named =
  /("?[\w-]*(?:password|passwd|secret|token|credential|private[_-]?key|api[_-]?key)[\w-]*"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;"'{[}\]]+)/gi;

/** A text without what looks like a key, a certificate or a password. */
export function redact(text: string): string {
  return text
    .replaceAll(pem, removed)
    .replaceAll(userOfUrl, `$1${removed}@`)
    .replaceAll(named, (_all, name: string, value: string) => {
      const [quote = ''] = /^["']/.exec(value) ?? [];
      return `${name}${quote}${removed}${quote}`;
    });
}
