/** Interface.type values that the agent serves; OVS spells the default one '' as well as 'system'. */
export const suppliedInterfaceTypes = ['internal', 'system'] as const;

/** Open_vSwitch.datapath_types: clients that plug taps expect the kernel's. */
export const suppliedDatapathTypes = ['system'] as const;

/** Whether an Interface of this type stands for a network device on this machine. */
export function isSupplied(type: string): boolean {
  return type === '' || suppliedInterfaceTypes.some((supplied) => supplied === type);
}
