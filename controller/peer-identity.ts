import type { PeerCertificate } from 'node:tls';

/** Whether a client's certificate is for the chassis: its common name or one of its DNS names is the chassis name. */
export function certificateAllows(
  certificate: Pick<PeerCertificate, 'subject' | 'subjectaltname'>,
  chassis: string,
): boolean {
  const names = (certificate.subjectaltname ?? '')
    .split(', ')
    .filter((name) => name.startsWith('DNS:'))
    .map((name) => name.slice('DNS:'.length));
  return [certificate.subject.CN ?? [], names].flat().includes(chassis);
}
