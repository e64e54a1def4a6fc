/** What is zero in the struct port (bpf/types.h) of a VIF that is not nested, on a switch without a physical network. */
export const plainPort = { vlanId: 0, sharers: 0, localnetSlot: 0, nextSharer: 0 } as const;
