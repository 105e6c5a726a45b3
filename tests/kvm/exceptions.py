"""What hosts or QEMU do otherwise than the guests expect; run says when that applies.

A host's KVM may itself be emulated ("nested" below): ring 0 and protected mode then run in the host
kernel's instruction emulator, which does not know every instruction, and ring 3 runs on the real
processor whatever CR0, CR4 and descriptors of the guest say.
"""

UNKNOWN = 'nested: the emulator of ring 0 does not know the instruction'

# guest: (part, None or the only kinds of irqchip, who can't, reason). What the host can't, nobody
# runs; what just QEMU can't, we run alone.
PARTS = {
    'modes': [
        ('real-invalid', None, 'host', UNKNOWN),
        ('compatibility-arpl', None, 'host', UNKNOWN),
    ],
    'exceptions': [
        ('software-kernel', None, 'host', UNKNOWN),
        ('breakpoint-kernel', None, 'host', UNKNOWN),
        ('far-jumps', None, 'host', 'nested: the emulator of ring 0 gives up on a jump to a TSS'),
    ],
    'protected32': [
        ('rings', None, 'host', UNKNOWN),
        ('iret', None, 'host', UNKNOWN),
        ('tasks', None, 'host', UNKNOWN),
        ('task-gate', None, 'host', 'nested: no task gates'),
        ('virtual-8086', None, 'host', 'nested: no virtual-8086 mode'),
        ('paging', None, 'host', 'nested: paging in long mode only'),
        ('pae', None, 'host', 'nested: paging in long mode only'),
    ],
    'hostile': [
        ('timer-storm', ['off'], 'qemu', 'QEMU does nothing but its timers'),
        ('pit-storm', ['split', 'off'], 'qemu', 'QEMU does nothing but its timers'),
    ],
    'rings': [
        ('huge', None, 'qemu', 'QEMU before 8 reads gigabytes of random numbers'),
    ],
}

# guest: (expression that "part/line" begins with, reason)
LINES = {
    'modes': [
        ('compatibility/(arpl|adjusted|decimal|bound|out of bounds|into)',
         'nested: the emulator of compatibility mode does not know the instruction'),
        ('system-calls/(one|flags in it|flags after it|many|calls)',
         'nested: SYSCALL stays in ring 3'),
        ('syscall-modes/(back to 32 bits|CS|switched off)', 'nested: SYSCALL stays in ring 3'),
        ('control/CR[04]: bit 32', 'nested: the upper half is ignored'),
        ('privileged/cli with IOPL 3', 'nested: no IOPL'),
        ('bases/FS', 'nested: null in ring 0 after ring 3'),
    ],
    'protected32': [
        ('gates/', 'nested: no call gates'),
        ('software/', 'nested: the emulator of protected mode does not know the instruction'),
    ],
    'exceptions': [
        ('software/', 'nested: INT n is invalid'),
        ('irets/to data', 'nested: not looked at'),
        ('doubled/no gate for #UD', 'nested: a double fault'),
        ('breakpoints/', 'nested: only instruction breakpoints, in ring 0'),
        ('floating/MXCSR, reserved bit', 'nested: emulated, and not known'),
        ('not-available/', 'nested: CR0 and CR4 do not matter to ring 3'),
        ('alignment/no AM, AC', 'nested: CR0 does not matter to ring 3'),
        ('avx/without OSXSAVE', 'nested: CR4 does not matter to ring 3'),
    ],
    'paging': [
        ('over/nothing stored',
         "KVM's emulator stores the first part of what faults in the second"),
    ],
    'cpuid': [
        ('no-msrs/PAT', 'KVM takes types of PAT that do not exist'),
        ('tsc/and can be set', "nested: the host's"),
    ],
    'pio': [
        ('permissions/ring 3, IOPL 3: ', 'nested: no IOPL'),
        ('permissions/ring 3, short bitmap: ',
         "KVM's emulator reads the bitmap's second byte beyond the limit"),
    ],
    'irq': [
        ('ioapic/(level|entry afterwards|and no more|none before EOI|one after EOI)',
         'nested: the local APIC in the kernel takes what it delivers as acknowledged'),
    ],
    'apic': [
        ('ipi/nested',
         'nested: the local APIC in the kernel takes what it delivers as acknowledged'),
        ('ipi/(illegal vector, taken|error interrupts|ESR)', 'neither KVM nor QEMU has this error'),
        ('ipi/and on again', 'QEMU keeps what comes while the APIC is off'),
        ('nmi/PIC as NMI', 'KVM has no NMI by LINT0, QEMU has it twice'),
        ('shadow/', 'nested: interrupts are taken between runs of the emulator only'),
    ],
    'hostile': [
        ('(timer|pit)-storm/', 'QEMU does nothing but its timers'),
    ],
}

ONES = "reads of nothing are all ones, as on a PC's bus; QEMU's machine has zeros"
REGISTERS = 'virtio 1.2, 4.2.2.2: registers are accessed by 32 bits, aligned; QEMU has bits of them'

# guest: (expression that "part/line" of ours begins with, reason)
DIFFERS = {
    'cpuid': [
        ('basic/5\\.0', 'no MONITOR, so nothing is said of it'),
        ('basic/d\\.[12]', 'no XSAVE, so no leaf of its parts'),
        ('extended/8000000[3-6]', "the model's own brand and caches; QEMU has later ones"),
        ('extended/80000008', "40 bits of addresses, as the model has; QEMU has the host's for KVM"),
        ('hypervisor/40000001', 'no extended destination ids: they need the interrupt remapping '
         'format, which the controllers do not have'),
        ('msrs/MCG_CAP', "no software error recovery: machine checks of the host's are not passed on"),
    ],
    'mmio': [
        ('sizes/(magic by bytes|by words|long in the middle|64 bits)', REGISTERS),
        ('sse/movups from', REGISTERS),
        ('crossing/(32|64) bits', REGISTERS),
        ('crossing/device and RAM', ONES),
        ('holes/', ONES),
        ('firmware/firmware can be written', 'nothing is there without -bios'),
    ],
    'memory': [
        ('all/beyond the top', ONES),
    ],
    'pio': [
        ('fw_cfg/(data as|its middle)',
         'fw_cfg has a selector of 16 bits, data of 8, and DMA of 32 or 64'),
        ('holes/registers of a device', "MCR is zero after reset (NS16550A); QEMU's has OUT2 set"),
    ],
    'irq': [
        ('ioapic/entry, all ones', 'reserved bits are zero; QEMU and KVM keep them'),
    ],
    'timers': [
        ('pit/pin',
         "pin 2, as the ACPI tables say; QEMU has KVM's own routes with the PIT in the kernel"),
    ],
    'pci': [
        ('config/extended',
         'no capability there; QEMU has 256 bytes without PCI Express capability'),
    ],
}
