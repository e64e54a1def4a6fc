import { parseMacAndAddresses } from '../common/lsp-addresses.js';
import type { LogicalSwitchPort } from './northbound.js';

/** ovn-nb(5) Logical_Switch_Port.options:localnet_learn_fdb */
function mayLearn({ type, options }: LogicalSwitchPort): boolean {
  return type === '' || (type === 'localnet' && options.get('localnet_learn_fdb') === 'true');
}

/**
 * Whether source MACs are learnt from what the port sends: a VIF, or a localnet port that is told to, that takes unknown
 * addresses and has no port security that can be read, as in northd's build_lswitch_learn_fdb_op.
 */
export function learnsMacs(port: LogicalSwitchPort): boolean {
  return (
    mayLearn(port) &&
    port.addresses.includes('unknown') &&
    !port.port_security.some((entry) => parseMacAndAddresses(entry) !== undefined)
  );
}
