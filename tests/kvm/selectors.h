/* Segment selectors of start.S, and what run_at() takes; for C and assembly. */
#ifndef TINAMOU_TESTS_KVM_SELECTORS_H
#define TINAMOU_TESTS_KVM_SELECTORS_H

/* In the order that SYSRET and SYSEXIT want; those of Linux. */
#define SEL_CODE32      0x08
#define SEL_CODE64      0x10
#define SEL_DATA        0x18
#define SEL_CODE32_USER 0x23
#define SEL_DATA_USER   0x2b
#define SEL_CODE64_USER 0x33
#define SEL_CODE16_BIG  0x38
#define SEL_CODE16      0x40
#define SEL_DATA16      0x48
#define SEL_ABSENT      0x50
#define SEL_TSS         0x58
#define SEL_FREE        0x68

/* Bits of run_at()'s third argument, above the ring. */
#define HOW_IF_BIT   8
#define HOW_IOPL_BIT 9
#define HOW_TF_BIT   10
#define HOW_AC_BIT   11
#define HOW_32_BIT   12
#define HOW_16_BIT   13

#define STRING_(x) #x
#define STRING(x)  STRING_(x)

#endif
