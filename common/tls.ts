/** Paths of PEM files: this side's certificate and key, and the authority that signs the peers'. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}
