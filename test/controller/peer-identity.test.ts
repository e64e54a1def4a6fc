import type { PeerCertificate } from 'node:tls';

import test from 'ava';

import { certificateAllows } from '../../controller/peer-identity.js';

function certificate(
  name: string,
  alternatives?: string,
): Pick<PeerCertificate, 'subject' | 'subjectaltname'> {
  const subject = { C: '', ST: '', L: '', O: '', OU: '', CN: name };
  return alternatives === undefined ? { subject } : { subject, subjectaltname: alternatives };
}

test('a certificate is for the chassis of its common name or of one of its DNS names', (t) => {
  t.true(certificateAllows(certificate('hv1'), 'hv1'));
  t.false(certificateAllows(certificate('hv1'), 'hv2'));
  t.false(certificateAllows(certificate('hv1'), 'hv'));
  t.true(certificateAllows(certificate('x', 'DNS:hv1, DNS:hv1.example'), 'hv1.example'));
  t.false(certificateAllows(certificate('x', 'IP Address:192.0.2.1, URI:hv1'), 'hv1'));
});
