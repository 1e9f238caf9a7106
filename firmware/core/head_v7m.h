/* head_block.h's widest blocks for an Armv7-M and later: a row of weights is one LDM. Four features a turn; where their
   number is no multiple of that, the first turn begins further down. With the DSP extension SMLATB takes the upper half
   of a weight and the lower half of a feature as they stand. */
#ifndef TFL_HEAD_V7M_H
#define TFL_HEAD_V7M_H

/* LSLS by 31: carry is bit 1 of n, minus bit 0. */
#define TFL_EACH_FEATURE(width, step)                 \
    "lsls %[even], %[even], #31\n\t"                  \
    "it mi\n\t"                                       \
    "ldrmi %[odd], [%[x]], #4\n\t"                    \
    "bcc 5f\n\t"                                      \
    "bmi 2f\n\t"                                      \
    "b 3f\n"                                          \
    "5:\n\t"                                          \
    "bmi 4f\n"                                        \
    "1:\n\t"                                          \
    "ldmia %[x]!, {%[even], %[odd]}\n\t"              \
    step(width, "%[even]")                            \
    "2:\n\t"                                          \
    step(width, "%[odd]")                             \
    "3:\n\t"                                          \
    "ldmia %[x]!, {%[even], %[odd]}\n\t"              \
    step(width, "%[even]")                            \
    "4:\n\t"                                          \
    step(width, "%[odd]")                             \
    "cmp %[x], %[end]\n\t"                            \
    "bne 1b"

/* Where a row begins in a block of four classes and of three. */
#define TFL_ROW_4(row, feature) "add " row ", %[block], " feature ", lsr #16\n\t"
#define TFL_ROW_3(row, feature) TFL_ROW_4(row, feature) "sub " row ", " row ", " feature ", lsr #18\n\t"
#define TFL_WEIGHTS_4 "{r8-r11}\n\t"
#define TFL_WEIGHTS_3 "{r8-r10}\n\t"

#if defined(__ARM_FEATURE_DSP)
#define TFL_SUM(sum, weight, feature) "smlatb " sum ", " weight ", " feature ", " sum "\n\t"
#define TFL_SUMS_3(feature)                  \
    TFL_SUM("%[sum0]", "r8", feature)        \
    TFL_SUM("%[sum1]", "r9", feature)        \
    TFL_SUM("%[sum2]", "r10", feature)
#define TFL_SUMS_4(feature) TFL_SUMS_3(feature) TFL_SUM("%[sum3]", "r11", feature)
#define TFL_FORWARD(width, feature)          \
    TFL_ROW_##width("r8", feature)           \
    "ldm r8, " TFL_WEIGHTS_##width           \
    TFL_SUMS_##width(feature)
#else
#define TFL_SUM(sum, offset, feature)                          \
    "ldrsh r9, [r8, #" offset "]\n\t"                          \
    "mla " sum ", r9, " feature ", " sum "\n\t"
#define TFL_SUMS_3(feature)                                    \
    TFL_SUM("%[sum0]", "2", feature)                           \
    TFL_SUM("%[sum1]", "6", feature)                           \
    TFL_SUM("%[sum2]", "10", feature)
#define TFL_SUMS_4(feature) TFL_SUMS_3(feature) TFL_SUM("%[sum3]", "14", feature)
#define TFL_FORWARD(width, feature)                            \
    TFL_ROW_##width("r8", feature)                             \
    "sxth " feature ", " feature "\n\t"                        \
    TFL_SUMS_##width(feature)
#endif

#define TFL_DEFINE_FORWARD(width)                                                                                     \
    static TFL_ALONE void tfl_forward_##width(const int32_t *block, const uint32_t *x, unsigned n, int32_t *z)        \
    {                                                                                                                 \
        int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;                                                               \
        const uint32_t *end = x + n;                                                                                  \
        uint32_t odd;                                                                                                 \
                                                                                                                      \
        __asm volatile(TFL_EACH_FEATURE(width, TFL_FORWARD)                                                           \
                       : [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2), [sum3] "+r"(sum3), [x] "+r"(x),     \
                         [even] "+r"(n), [odd] "=&r"(odd)                                                             \
                       : [block] "r"(block), [end] "r"(end)                                                           \
                       : "r8", "r9", "r10", "r11", "cc", "memory");                                                   \
        z[0] = sum0;                                                                                                  \
        z[1] = sum1;                                                                                                  \
        z[2] = sum2;                                                                                                  \
        if (width > 3) {                                                                                              \
            z[3] = sum3;                                                                                              \
        }                                                                                                             \
    }

TFL_DEFINE_FORWARD(3)
#if !TFL_MVE
TFL_DEFINE_FORWARD(4)
#endif

#define TFL_LESS(weight, g, value) "mls " weight ", " g ", " value ", " weight "\n\t"
#define TFL_LESS_3(value)                    \
    TFL_LESS("r8", "%[g0]", value)           \
    TFL_LESS("r9", "%[g1]", value)           \
    TFL_LESS("r10", "%[g2]", value)
#define TFL_LESS_4(value) TFL_LESS_3(value) TFL_LESS("r11", "%[g3]", value)
#define TFL_UPDATE(width, feature)           \
    TFL_ROW_##width("lr", feature)           \
    "sxth " feature ", " feature "\n\t"      \
    "ldm lr, " TFL_WEIGHTS_##width           \
    TFL_LESS_##width(feature)                \
    "stm lr, " TFL_WEIGHTS_##width

#define TFL_DEFINE_UPDATE(width)                                                                                      \
    static TFL_ALONE void tfl_update_##width(int32_t *block, const uint32_t *x, unsigned n, const int32_t *g)         \
    {                                                                                                                 \
        const uint32_t *end = x + n;                                                                                  \
        uint32_t odd;                                                                                                 \
                                                                                                                      \
        __asm volatile(TFL_EACH_FEATURE(width, TFL_UPDATE)                                                            \
                       : [x] "+r"(x), [even] "+r"(n), [odd] "=&r"(odd)                                                \
                       : [block] "r"(block), [end] "r"(end), [g0] "r"(g[0]), [g1] "r"(g[1]), [g2] "r"(g[2]),          \
                         [g3] "r"(g[(width)-1])                                                                       \
                       : "r8", "r9", "r10", "r11", "lr", "cc", "memory");                                             \
    }

TFL_DEFINE_UPDATE(3)
#if TFL_MVE
#include "head_mve.h"
#else
TFL_DEFINE_UPDATE(4)
#endif

#endif
