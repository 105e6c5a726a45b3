/*
 * Names for bits of control registers, flags and tables that more than one file needs (SDM volume
 * 3, 2.3, 2.5 and 3.4; volume 1, 3.4.3).
 */
#ifndef TINAMOU_TARGET_X86_ARCH_H
#define TINAMOU_TARGET_X86_ARCH_H

#include <stdint.h>

#define X86_CR0_PE (1u << 0)
#define X86_CR0_MP (1u << 1)
#define X86_CR0_EM (1u << 2)
#define X86_CR0_TS (1u << 3)
#define X86_CR0_ET (1u << 4)
#define X86_CR0_NE (1u << 5)
#define X86_CR0_WP (1u << 16)
#define X86_CR0_AM (1u << 18)
#define X86_CR0_NW (1u << 29)
#define X86_CR0_CD (1u << 30)
#define X86_CR0_PG (1u << 31)

#define X86_CR4_VME        (1u << 0)
#define X86_CR4_PVI        (1u << 1)
#define X86_CR4_TSD        (1u << 2)
#define X86_CR4_DE         (1u << 3)
#define X86_CR4_PSE        (1u << 4)
#define X86_CR4_PAE        (1u << 5)
#define X86_CR4_MCE        (1u << 6)
#define X86_CR4_PGE        (1u << 7)
#define X86_CR4_PCE        (1u << 8)
#define X86_CR4_OSFXSR     (1u << 9)
#define X86_CR4_OSXMMEXCPT (1u << 10)
#define X86_CR4_UMIP       (1u << 11)
#define X86_CR4_LA57       (1u << 12)
#define X86_CR4_VMXE       (1u << 13)
#define X86_CR4_SMXE       (1u << 14)
#define X86_CR4_FSGSBASE   (1u << 16)
#define X86_CR4_PCIDE      (1u << 17)
#define X86_CR4_OSXSAVE    (1u << 18)
#define X86_CR4_KL         (1u << 19)
#define X86_CR4_SMEP       (1u << 20)
#define X86_CR4_SMAP       (1u << 21)
#define X86_CR4_PKE        (1u << 22)
#define X86_CR4_CET        (1u << 23)
#define X86_CR4_PKS        (1u << 24)
#define X86_CR4_UINTR      (1u << 25)

#define X86_EFER_SCE   (1u << 0)
#define X86_EFER_LME   (1u << 8)
#define X86_EFER_LMA   (1u << 10)
#define X86_EFER_NXE   (1u << 11)
#define X86_EFER_SVME  (1u << 12)
#define X86_EFER_LMSLE (1u << 13)
#define X86_EFER_FFXSR (1u << 14)
#define X86_EFER_TCE   (1u << 15)

#define X86_FLAG_CF   (1u << 0)
#define X86_FLAG_ONE  (1u << 1) /* always set */
#define X86_FLAG_PF   (1u << 2)
#define X86_FLAG_AF   (1u << 4)
#define X86_FLAG_ZF   (1u << 6)
#define X86_FLAG_SF   (1u << 7)
#define X86_FLAG_TF   (1u << 8)
#define X86_FLAG_IF   (1u << 9)
#define X86_FLAG_DF   (1u << 10)
#define X86_FLAG_OF   (1u << 11)
#define X86_FLAG_IOPL (3u << 12)
#define X86_FLAG_NT   (1u << 14)
#define X86_FLAG_RF   (1u << 16)
#define X86_FLAG_VM   (1u << 17)
#define X86_FLAG_AC   (1u << 18)
#define X86_FLAG_VIF  (1u << 19)
#define X86_FLAG_VIP  (1u << 20)
#define X86_FLAG_ID   (1u << 21)

#define X86_DR6_FIXED 0xffff0ff0u /* bits that read as 1, RTM and bus lock included */
#define X86_DR7_FIXED 0x400u

/* IA32_APIC_BASE */
#define X86_APIC_BASE_ADDRESS UINT64_C(0xfee00000)
#define X86_APIC_BASE_BSP     (1u << 8)
#define X86_APIC_BASE_X2APIC  (1u << 10)
#define X86_APIC_BASE_ENABLE  (1u << 11)

/* Types of segments with S (SDM 3.4.5.1), and of those without (3.5). */
#define X86_TYPE_ACCESSED 1u
#define X86_TYPE_WRITABLE 2u /* of data; readable, of code */
#define X86_TYPE_DOWN     4u /* of data: expands down; conforming, of code */
#define X86_TYPE_CODE     8u
#define X86_TYPE_LDT      2u
#define X86_TYPE_TSS_BUSY 11u

/* Where things are in the standard format of XSAVE (SDM volume 1, 13.4.1 and 13.4.2). */
enum {
    X86_XSAVE_FCW = 0,
    X86_XSAVE_FSW = 2,
    X86_XSAVE_FTW = 4, /* abridged: bit set, register not empty */
    X86_XSAVE_FOP = 6,
    X86_XSAVE_FIP = 8,
    X86_XSAVE_FDP = 16,
    X86_XSAVE_MXCSR = 24,
    X86_XSAVE_ST = 32,   /* 16 bytes each */
    X86_XSAVE_XMM = 160, /* 16 bytes each */
    X86_XSAVE_XSTATE_BV = 512,
    X86_XSAVE_XCOMP_BV = 520,
    X86_XSAVE_AVX = 576, /* the upper halves of ymm0 to ymm15; elsewhere for no processor */
};

#define X86_MXCSR_RESET 0x1f80u

#define X86_XCR0_X87 1u
#define X86_XCR0_SSE 2u
#define X86_XCR0_AVX 4u

#define X86_RESET_VECTOR UINT64_C(0xfffffff0)

#endif
