/** Interface.type values that the agent serves; OVS spells the default one '' as well as 'system'. */
export const suppliedInterfaceTypes = ['internal', 'system'] as const;

/** Whether an Interface of this type stands for a network device on this machine. */
export function isSupplied(type: string): boolean {
  return type === '' || suppliedInterfaceTypes.some((supplied) => supplied === type);
}
