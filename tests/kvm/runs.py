"""What tests/kvm/run runs."""

# Virtio 1.x: there is nothing older here.
MODERN = ['-global', 'virtio-mmio.force-legacy=false']
RNG = [*MODERN, '-device', 'virtio-rng-device']
DISK = [*MODERN, '-drive', 'file=FOLDER/disk,format=raw,if=none,id=d,snapshot=on',
        '-device', 'virtio-blk-device,drive=d']
PCI = ['-device', 'virtio-rng-pci,disable-legacy=on',
       '-device', 'virtio-net-pci,disable-legacy=on,romfile=FOLDER/rom']

# guest; name: distinguishes runs; irqchip: on without; machine, args: options; append: command line
RUNS = [
    {'guest': 'boot'},
    {'guest': 'boot', 'name': 'initrd, 5 GiB', 'args': ['-m', '5G', '-initrd', 'FOLDER/initrd'],
     'append': 'modules=1 text=a,b'},
    {'guest': 'boot', 'machine': ['acpi=off'], 'args': ['-m', '64M', *RNG]},
    {'guest': 'modes'},
    {'guest': 'protected32'},
    {'guest': 'paging'},
    {'guest': 'exceptions', 'args': ['-cpu', 'EPYC']},
    {'guest': 'smc'},
    {'guest': 'memory'},
    {'guest': 'memory', 'name': '6 GiB', 'args': ['-m', '6G']},
    {'guest': 'cpuid'},
    {'guest': 'cpuid', 'name': 'Nehalem', 'args': ['-cpu', 'Nehalem']},
    {'guest': 'cpuid', 'name': 'EPYC', 'irqchip': 'split', 'args': ['-cpu', 'EPYC']},
    {'guest': 'pio'},
    {'guest': 'pio', 'irqchip': 'off', 'append': 'count=500'},
    {'guest': 'mmio', 'args': RNG},
    {'guest': 'mmio', 'irqchip': 'split', 'machine': ['ioapic2=off'], 'args': RNG,
     'append': 'count=500'},
    {'guest': 'mmio', 'irqchip': 'off', 'args': RNG, 'append': 'count=500'},
    {'guest': 'irq'},
    {'guest': 'irq', 'machine': ['pic=off'], 'append': 'count=200'},
    {'guest': 'irq', 'irqchip': 'split', 'append': 'count=500'},
    {'guest': 'irq', 'irqchip': 'off', 'append': 'count=500'},
    {'guest': 'apic'},
    {'guest': 'apic', 'irqchip': 'split', 'append': 'count=1000'},
    {'guest': 'apic', 'irqchip': 'off', 'append': 'count=1000'},
    {'guest': 'timers', 'machine': ['rtc=on'], 'args': ['-cpu', 'qemu64,+tsc-deadline']},
    {'guest': 'timers', 'machine': ['pit=off', 'pic=off']},
    {'guest': 'timers', 'irqchip': 'split', 'machine': ['rtc=on'],
     'args': ['-cpu', 'qemu64,+tsc-deadline']},
    # skip=x2apic: the local APIC here has it, QEMU's of before 8.2 has not
    {'guest': 'timers', 'irqchip': 'off', 'machine': ['rtc=on'], 'append': 'skip=x2apic'},
    {'guest': 'smp', 'name': '4 processors', 'args': ['-smp', '4'], 'append': 'cpus=4'},
    {'guest': 'smp', 'name': '2 processors', 'irqchip': 'split', 'args': ['-smp', '2'],
     'append': 'cpus=2'},
    {'guest': 'smp', 'name': '2 processors', 'irqchip': 'off', 'args': ['-smp', '2'],
     'append': 'cpus=2 spin=1 count=1000'},
    {'guest': 'rings', 'name': 'entropy', 'args': RNG, 'append': 'count=2000'},
    {'guest': 'rings', 'name': 'disk', 'irqchip': 'split', 'args': DISK, 'append': 'count=2000'},
    {'guest': 'rings', 'name': 'entropy', 'irqchip': 'off', 'args': RNG, 'append': 'count=1000'},
    {'guest': 'pci', 'machine': ['pcie=on'], 'args': PCI},
    {'guest': 'pci', 'irqchip': 'split', 'machine': ['pcie=on'], 'args': PCI,
     'append': 'count=500'},
    {'guest': 'pci', 'irqchip': 'off', 'machine': ['pcie=on'], 'args': PCI,
     'append': 'count=500'},
    {'guest': 'hostile', 'args': RNG, 'append': 'count=1000'},
    {'guest': 'hostile', 'irqchip': 'split', 'args': DISK, 'append': 'count=1000'},
    {'guest': 'hostile', 'irqchip': 'off', 'append': 'count=1000'},
]

# part of ends.c: status, lines or their number; append and reboot as in a run
ENDS = {
    'status': {'append': 'value=17', 'status': 35, 'lines': ['status']},
    'status-word': {'append': 'value=600', 'status': 177, 'lines': ['status, word']},
    'status-long': {'append': 'value=66000', 'status': 161, 'lines': ['status, long']},
    'status-read': {'status': 1, 'lines': ['read: 0 0 0']},
    'triple': {'status': 0, 'lines': ['triple fault']},
    'triple-user': {'status': 0, 'lines': ['triple fault from ring 3']},
    'wild-idt': {'status': 0, 'lines': ['IDT nowhere']},
    'wild-gdt': {'status': 0, 'lines': ['GDT nowhere']},
    'wild-cr3': {'status': 0, 'lines': ['page tables of ones']},
    'power-off': {'status': 0, 'lines': ['power off']},
    'reset': {'status': 0, 'lines': ['reset']},
    'reboot': {'reboot': True, 'status': 1, 'lines': ['first time', 'second time']},
    'flood': {'status': 1, 'number': 300},
}

# part of ends.c that goes on until SIGTERM: what it prints first
ENDLESS = {
    'halt': 'halted',
    'spin': 'spinning',
    'spin-user': 'spinning in ring 3',
    'exits': 'exits without end',
    'exceptions': 'exceptions without end',
    'page-faults': 'page faults without end',
    'fetch': 'code in a device',
    'fetch-hole': 'code in a hole',
}
