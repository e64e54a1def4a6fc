import { parseMacAndAddresses } from './lsp-addresses.js';
import type { LogicalSwitchPort } from './northbound.js';

/**
 * Whether source MACs are learnt from what the port sends: a VIF that takes unknown addresses and has no port security
 * that can be read, as in northd's build_lswitch_learn_fdb_op.
 */
export function learnsMacs(port: LogicalSwitchPort): boolean {
  return (
    port.type === '' &&
    port.addresses.includes('unknown') &&
    !port.port_security.some((entry) => parseMacAndAddresses(entry) !== undefined)
  );
}
