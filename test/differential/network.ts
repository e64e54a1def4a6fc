import fc from 'fast-check';

/** An address as written in the northbound database, with the parts that frames are made of. */
export interface WrittenAddress {
  readonly address: string;
  readonly prefixLength?: number;
}

/** One entry of `addresses` or `port_security`. */
export interface Entry {
  readonly mac: string;
  readonly addresses: readonly WrittenAddress[];
}

export interface PortDescription {
  readonly name: string;
  readonly enabled: boolean;
  readonly unknown: boolean;
  readonly addresses: readonly Entry[];
  readonly portSecurity: readonly Entry[];
  /** Entries of `port_security` that are no addresses. */
  readonly nonsense: readonly string[];
}

/** A logical switch with everything plugged in on one hypervisor. */
export interface SwitchDescription {
  readonly name: string;
  /** Logical_Switch.other_config */
  readonly vlanPassthru: boolean;
  readonly ports: readonly PortDescription[];
}

export const maximumPorts = 6;

/** The MAC that a port has by right. */
export function ownMac(index: number): string {
  return `0a:00:00:00:00:0${index + 1}`;
}

export function ownIp4(index: number): string {
  return `10.0.0.${index + 1}`;
}

export function ownIp6(index: number): string {
  return `fd00::${index + 1}`;
}

function securityMac(index: number): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 6, arbitrary: fc.constant(ownMac(index)) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        '0a:00:00:00:00:01',
        '0a:00:00:00:00:02',
        '0a:00:00:00:00:07',
        'a:0:0:0:0:8',
      ),
    },
  );
}

function ip4(index: number): fc.Arbitrary<WrittenAddress> {
  const own = ownIp4(index);
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant({ address: own }) },
    { weight: 2, arbitrary: fc.constant({ address: own, prefixLength: 24 }) },
    {
      weight: 3,
      arbitrary: fc.constantFrom<WrittenAddress>(
        { address: own, prefixLength: 32 },
        { address: own, prefixLength: 31 },
        { address: own, prefixLength: 30 },
        { address: own, prefixLength: 0 },
        { address: '10.0.0.0', prefixLength: 24 },
        { address: '10.0.0.4', prefixLength: 30 },
        { address: '10.0.1.0', prefixLength: 25 },
        { address: '10.0.1.7', prefixLength: 25 },
        { address: '10.0.0.9' },
      ),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom<WrittenAddress>(
        { address: '0.0.0.0', prefixLength: 0 },
        { address: '0.0.0.0', prefixLength: 1 },
      ),
    },
  );
}

function ip6(index: number): fc.Arbitrary<WrittenAddress> {
  const own = ownIp6(index);
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant({ address: own }) },
    {
      weight: 4,
      arbitrary: fc.constantFrom<WrittenAddress>(
        { address: own, prefixLength: 64 },
        { address: own, prefixLength: 128 },
        { address: own, prefixLength: 127 },
        { address: 'fd00::', prefixLength: 64 },
        { address: 'fd00::4', prefixLength: 126 },
        { address: 'fd00:1::', prefixLength: 33 },
        { address: 'fe80::', prefixLength: 64 },
        { address: 'fd00::9' },
      ),
    },
    { weight: 1, arbitrary: fc.constant({ address: '::', prefixLength: 0 }) },
  );
}

function securityEntry(index: number): fc.Arbitrary<Entry> {
  const four = fc.array(ip4(index), { minLength: 1, maxLength: 3 });
  const six = fc.array(ip6(index), { minLength: 1, maxLength: 3 });
  const both = fc.tuple(four, six).map(([first, second]) => [...first, ...second]);
  const addresses = fc.oneof(
    { weight: 2, arbitrary: fc.constant<WrittenAddress[]>([]) },
    { weight: 3, arbitrary: four },
    { weight: 3, arbitrary: six },
    { weight: 4, arbitrary: both },
  );
  return fc.record({ mac: securityMac(index), addresses });
}

const nonsense = fc.constantFrom('nonsense', '', '10.0.0.1', '0a:00:00:00:00', 'unknown', 'router');

function portDescription(name: string, index: number): fc.Arbitrary<PortDescription> {
  const own: readonly WrittenAddress[] = [{ address: ownIp4(index) }, { address: ownIp6(index) }];
  const addresses = fc.constantFrom<readonly Entry[]>(
    [{ mac: ownMac(index), addresses: own }],
    [{ mac: ownMac(index), addresses: own }],
    [{ mac: ownMac(index), addresses: [] }],
    [{ mac: ownMac(index), addresses: [{ address: ownIp4(index), prefixLength: 24 }] }],
    [
      { mac: ownMac(index), addresses: own },
      { mac: `0a:00:00:00:01:0${index + 1}`, addresses: [{ address: `10.0.2.${index + 1}` }] },
    ],
    [],
  );
  const portSecurity = fc.oneof(
    { weight: 1, arbitrary: fc.constant<Entry[]>([]) },
    { weight: 4, arbitrary: fc.array(securityEntry(index), { minLength: 1, maxLength: 3 }) },
  );
  return fc.record({
    name: fc.constant(name),
    enabled: fc.oneof(
      { weight: 9, arbitrary: fc.constant(true) },
      { weight: 1, arbitrary: fc.constant(false) },
    ),
    unknown: fc.oneof(
      { weight: 4, arbitrary: fc.constant(false) },
      { weight: 1, arbitrary: fc.constant(true) },
    ),
    addresses,
    portSecurity,
    nonsense: fc.oneof(
      { weight: 9, arbitrary: fc.constant<string[]>([]) },
      { weight: 1, arbitrary: nonsense.map((text) => [text]) },
    ),
  });
}

/** A random switch; its name and its ports' begin with `name`. */
export function switchDescription(name: string): fc.Arbitrary<SwitchDescription> {
  return fc.integer({ min: 1, max: maximumPorts }).chain((count) => {
    const ports = Array.from({ length: count }, (_, index) => portDescription(`${name}p${index + 1}`, index));
    const vlanPassthru = fc.oneof(
      { weight: 3, arbitrary: fc.constant(false) },
      { weight: 1, arbitrary: fc.constant(true) },
    );
    return fc.record({ name: fc.constant(name), vlanPassthru, ports: fc.tuple(...ports) });
  });
}

function written({ mac, addresses }: Entry): string {
  const texts = addresses.map(({ address, prefixLength }) =>
    prefixLength === undefined ? address : `${address}/${prefixLength}`,
  );
  return [mac, ...texts].join(' ');
}

/** A port's `addresses` as in the northbound database. */
export function addressesColumn(port: PortDescription): readonly string[] {
  return [...new Set([...port.addresses.map(written), ...(port.unknown ? ['unknown'] : [])])];
}

/** A port's `port_security` as in the northbound database. */
export function portSecurityColumn(port: PortDescription): readonly string[] {
  return [...new Set([...port.portSecurity.map(written), ...port.nonsense])];
}

function ovsdbSet(values: readonly string[]): string {
  return `[${values.map((value) => JSON.stringify(value)).join(', ')}]`;
}

/** The arguments of one ovn-nbctl call that makes the switch. */
export function nbctlCommands({ name, vlanPassthru, ports }: SwitchDescription): readonly string[] {
  return [
    ...['--', 'ls-add', name, '--', 'set', 'Logical_Switch', name],
    `other_config:vlan-passthru=${vlanPassthru}`,
    ...ports.flatMap((port) => [
      ...['--', 'lsp-add', name, port.name, '--', 'set', 'Logical_Switch_Port', port.name],
      `enabled=${port.enabled}`,
      `addresses=${ovsdbSet(addressesColumn(port))}`,
      `port_security=${ovsdbSet(portSecurityColumn(port))}`,
    ]),
  ];
}

/** Whether some port's port security has a network with 0.0.0.0 or :: in it. */
export function allowsZero({ ports }: SwitchDescription): boolean {
  const entries = ports.flatMap(({ portSecurity }) => portSecurity.flatMap(({ addresses }) => addresses));
  return entries.some(({ address }) => address === '0.0.0.0' || address === '::');
}

/** For a failure's report. */
export function describeSwitch({ name, vlanPassthru, ports }: SwitchDescription): string {
  const lines = ports.map((port) => {
    const state = port.enabled ? '' : ' disabled';
    return `  ${port.name}${state} addresses ${ovsdbSet(addressesColumn(port))} port_security ${ovsdbSet(portSecurityColumn(port))}`;
  });
  return [`switch ${name}${vlanPassthru ? ' with vlan-passthru' : ''}`, ...lines].join('\n');
}
