/* Segment selectors of start32.S; for C and assembly. */
#ifndef TINAMOU_TESTS_KVM_SELECTORS32_H
#define TINAMOU_TESTS_KVM_SELECTORS32_H

#define SEL_CODE       0x08
#define SEL_DATA       0x10
#define SEL_CODE_USER  0x1b
#define SEL_DATA_USER  0x23
#define SEL_CODE_RING1 0x29
#define SEL_DATA_RING1 0x31
#define SEL_CODE16     0x38
#define SEL_DATA16     0x40
#define SEL_TSS        0x48
#define SEL_CONFORMING 0x50
#define SEL_READ_ONLY  0x58
#define SEL_EXECUTE    0x60
#define SEL_ABSENT     0x68
#define SEL_SMALL      0x70
#define SEL_DOWN       0x78
#define SEL_FREE       0x80

#define STRING_(x) #x
#define STRING(x)  STRING_(x)

#endif
