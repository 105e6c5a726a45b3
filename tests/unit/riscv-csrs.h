/* Numbers of control and status registers, for tests. */
#ifndef TINAMOU_TESTS_UNIT_RISCV_CSRS_H
#define TINAMOU_TESTS_UNIT_RISCV_CSRS_H

enum {
    SSTATUS = 0x100,
    SIE = 0x104,
    STVEC,
    SCOUNTEREN,
    SENVCFG = 0x10a,
    SSCRATCH = 0x140,
    SEPC,
    SCAUSE,
    STVAL,
    SIP,
    STIMECMP = 0x14d,
    SATP = 0x180,
    MSTATUS = 0x300,
    MISA,
    MEDELEG,
    MIDELEG,
    MIE,
    MTVEC,
    MCOUNTEREN,
    MENVCFG = 0x30a,
    MCOUNTINHIBIT = 0x320,
    MHPMEVENT3 = 0x323,
    MSCRATCH = 0x340,
    MEPC,
    MCAUSE,
    MTVAL,
    MIP,
    PMPCFG0 = 0x3a0,
    PMPADDR0 = 0x3b0,
    MSECCFG = 0x747,
    MCYCLE = 0xb00,
    MHPMCOUNTER3 = 0xb03,
    CYCLE = 0xc00,
    TIME,
    SCOUNTOVF = 0xda0,
    MHARTID = 0xf14,
};

#endif
