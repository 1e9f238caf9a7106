/* head_block.h's widest blocks for an Armv6-M: what is multiplied lies in the lower registers, the sums, the rates, the
   block and the end in the upper ones. A feature is one LDM, since that moves the pointer on; two features a turn, an
   odd number begins in the middle. */
#ifndef TFL_HEAD_V6M_H
#define TFL_HEAD_V6M_H

/* row: first n, product: first where x ends. */
#define TFL_EACH_FEATURE(step)       \
    ".syntax unified\n\t"            \
    "mov lr, %[product]\n\t"         \
    "lsrs %[row], %[row], #1\n\t"    \
    "bcs 2f\n"                       \
    "1:\n\t"                         \
    step                             \
    "2:\n\t"                         \
    step                             \
    "cmp %[x], lr\n\t"               \
    "bne 1b\n\t"

/* Where a row begins in a block of four classes and of three, and the feature's value. */
#define TFL_FEATURE_4                \
    "ldmia %[x]!, {%[row]}\n\t"      \
    "sxth %[value], %[row]\n\t"      \
    "lsrs %[row], %[row], #16\n\t"   \
    "add %[row], %[block]\n\t"
#define TFL_FEATURE_3                \
    "ldmia %[x]!, {%[row]}\n\t"      \
    "sxth %[value], %[row]\n\t"      \
    "lsrs %[product], %[row], #18\n\t" \
    "lsrs %[row], %[row], #16\n\t"   \
    "subs %[row], %[row], %[product]\n\t" \
    "add %[row], %[block]\n\t"

/* LDRSH finds the upper halves of a row's weights at 2, 6, 10 and 14. */
#define TFL_SUM(sum, upper)                      \
    "ldrsh %[product], [%[row], " upper "]\n\t"  \
    "muls %[product], %[value], %[product]\n\t"  \
    "add " sum ", %[product]\n\t"
#define TFL_SUMS_3                               \
    TFL_SUM("%[sum0]", "%[upper0]")              \
    TFL_SUM("%[sum1]", "%[upper1]")              \
    TFL_SUM("%[sum2]", "%[upper2]")
#define TFL_SUMS_4 TFL_SUMS_3 TFL_SUM("%[sum3]", "%[upper3]")

#define TFL_DEFINE_FORWARD(width)                                                                                     \
    static TFL_ALONE void tfl_forward_##width(const int32_t *block, const uint32_t *x, unsigned n, int32_t *z)        \
    {                                                                                                                 \
        int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;                                                               \
        const uint32_t *end = x + n;                                                                                  \
        uint32_t value;                                                                                               \
                                                                                                                      \
        __asm volatile(TFL_EACH_FEATURE(TFL_FEATURE_##width TFL_SUMS_##width)                                         \
                       : [sum0] "+h"(sum0), [sum1] "+h"(sum1), [sum2] "+h"(sum2), [sum3] "+h"(sum3), [x] "+l"(x),     \
                         [row] "+l"(n), [value] "=&l"(value), [product] "+l"(end)                                     \
                       : [block] "h"(block), [upper0] "l"(2), [upper1] "l"(6), [upper2] "l"(10), [upper3] "l"(14)     \
                       : "lr", "cc", "memory");                                                                       \
        z[0] = sum0;                                                                                                  \
        z[1] = sum1;                                                                                                  \
        z[2] = sum2;                                                                                                  \
        if (width > 3) {                                                                                              \
            z[3] = sum3;                                                                                              \
        }                                                                                                             \
    }

TFL_DEFINE_FORWARD(3)
TFL_DEFINE_FORWARD(4)

#define TFL_LESS(weight, g)                         \
    "mov %[product], " g "\n\t"                     \
    "muls %[product], %[value], %[product]\n\t"     \
    "subs " weight ", " weight ", %[product]\n\t"
#define TFL_LESS_3                                  \
    TFL_LESS("r0", "%[g0]")                         \
    TFL_LESS("r1", "%[g1]")                         \
    TFL_LESS("r2", "%[g2]")
#define TFL_UPDATE_3                                \
    TFL_FEATURE_3                                   \
    "ldmia %[row]!, {r0-r2}\n\t"                    \
    TFL_LESS_3                                      \
    "subs %[row], #12\n\t"                          \
    "stmia %[row]!, {r0-r2}\n\t"
#define TFL_UPDATE_4                                \
    TFL_FEATURE_4                                   \
    "ldmia %[row]!, {r0-r3}\n\t"                    \
    TFL_LESS_3                                      \
    TFL_LESS("r3", "%[g3]")                         \
    "subs %[row], #16\n\t"                          \
    "stmia %[row]!, {r0-r3}\n\t"

#define TFL_DEFINE_UPDATE(width)                                                                                      \
    static TFL_ALONE void tfl_update_##width(int32_t *block, const uint32_t *x, unsigned n, const int32_t *g)         \
    {                                                                                                                 \
        const uint32_t *end = x + n;                                                                                  \
        uint32_t value;                                                                                               \
                                                                                                                      \
        __asm volatile(TFL_EACH_FEATURE(TFL_UPDATE_##width)                                                           \
                       : [x] "+l"(x), [row] "+l"(n), [value] "=&l"(value), [product] "+l"(end)                        \
                       : [block] "h"(block), [g0] "h"(g[0]), [g1] "h"(g[1]), [g2] "h"(g[2]), [g3] "h"(g[(width)-1])   \
                       : "r0", "r1", "r2", "r3", "lr", "cc", "memory");                                               \
    }

TFL_DEFINE_UPDATE(3)
TFL_DEFINE_UPDATE(4)

#endif
