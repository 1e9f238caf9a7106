/* The multiply-accumulates of a depthwise convolution, pixel by pixel: four neighbouring channels at a time.

     tfl_group_dot     acc[i] += sum of in[taps[t] + i] times the weight of channel i at tap t; returns where the next
                       group's weights lie
   Weights: int16, four a tap, in the order of channels 0, 2, 1, 3, in which the DSP extension takes bytes out of words. */
#ifndef TFL_GROUPS_H
#define TFL_GROUPS_H

#include "kernel.h"

#define TFL_GROUP_PLACE(i) (((i) & 1u) << 1 | (i) >> 1) /* of channel i: 0..3 */

#if defined(__ARM_FEATURE_DSP) && TFL_ALL_REGISTERS

static inline const int16_t *tfl_group_dot(int32_t acc[4], const int8_t *in, const int32_t *taps, const int16_t *w,
                                           uint32_t count)
{
#define TFL_TAP                          \
    "ldr r8, [%[taps]], #4\n\t"          \
    "ldrd r10, r11, [%[w]], #8\n\t"      \
    "ldr r8, [%[in], r8]\n\t"            \
    "sxtb16 r9, r8\n\t"                  \
    "sxtb16 r8, r8, ror #8\n\t"          \
    "smlabb %[a0], r9, r10, %[a0]\n\t"   \
    "smlatt %[a2], r9, r10, %[a2]\n\t"   \
    "smlabb %[a1], r8, r11, %[a1]\n\t"   \
    "smlatt %[a3], r8, r11, %[a3]\n\t"
    /* Three taps a turn, then one by one. */
    __asm volatile("subs %[count], #3\n\t"
                   "blt 2f\n"
                   "1:\n\t"
                   TFL_TAP TFL_TAP TFL_TAP
                   "subs %[count], #3\n\t"
                   "bge 1b\n"
                   "2:\n\t"
                   "adds %[count], #3\n\t"
                   "beq 4f\n"
                   "3:\n\t"
                   TFL_TAP
                   "subs %[count], #1\n\t"
                   "bne 3b\n"
                   "4:"
                   : [a0] "+r"(acc[0]), [a1] "+r"(acc[1]), [a2] "+r"(acc[2]), [a3] "+r"(acc[3]), [taps] "+r"(taps),
                     [w] "+r"(w), [count] "+r"(count)
                   : [in] "r"(in)
                   : "r8", "r9", "r10", "r11", "cc", "memory");
#undef TFL_TAP
    return w;
}

#elif defined(__ARM_ARCH_6M__) && TFL_ALL_REGISTERS

/* Two weights a word; the sums stay in the upper registers. */
static inline const int16_t *tfl_group_dot(int32_t acc[4], const int8_t *in, const int32_t *taps, const int16_t *w,
                                           uint32_t count)
{
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    const int8_t *x;

#define TFL_PRODUCT(acc, weight, place)          \
    "ldrb r3, [%[x], #" place "]\n\t"            \
    "sxtb r3, r3\n\t"                            \
    "muls " weight ", r3, " weight "\n\t"        \
    "add " acc ", " weight "\n\t"
    __asm volatile(".syntax unified\n"
                   "1:\n\t"
                   "ldmia %[taps]!, {%[x]}\n\t"
                   "add %[x], %[in]\n\t"
                   "ldmia %[w]!, {r0, r1}\n\t"
                   "sxth r2, r0\n\t"
                   TFL_PRODUCT("%[a0]", "r2", "0")
                   "asrs r0, r0, #16\n\t"
                   TFL_PRODUCT("%[a2]", "r0", "2")
                   "sxth r2, r1\n\t"
                   TFL_PRODUCT("%[a1]", "r2", "1")
                   "asrs r1, r1, #16\n\t"
                   TFL_PRODUCT("%[a3]", "r1", "3")
                   "subs %[count], #1\n\t"
                   "bne 1b"
                   : [a0] "+h"(a0), [a1] "+h"(a1), [a2] "+h"(a2), [a3] "+h"(a3), [taps] "+l"(taps), [w] "+l"(w),
                     [count] "+l"(count), [x] "=&l"(x)
                   : [in] "h"(in)
                   : "r0", "r1", "r2", "r3", "cc", "memory");
#undef TFL_PRODUCT
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
    return w;
}

#else

static inline const int16_t *tfl_group_dot(int32_t acc[4], const int8_t *in, const int32_t *taps, const int16_t *w,
                                           uint32_t count)
{
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];

    for (const int32_t *end = taps + count; taps != end; taps++) {
        const int8_t *x = in + *taps;

        a0 += x[0] * w[0];
        a2 += x[2] * w[1];
        a1 += x[1] * w[2];
        a3 += x[3] * w[3];
        w += 4;
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
    return w;
}

#endif

static TFL_ALONE void tfl_group_scale(const struct tfl_scaling *s, const int32_t *acc, const int32_t *words,
                                      uint32_t count, int8_t *out)
{
    if (!TFL_CLAMPS_LATER && tfl_scale_is(s, TFL_SCALE_CLAMP)) {
        int32_t low = s->low, range = s->high - low;

        for (const int32_t *end = acc + count; acc != end; words += 4) {
            *out++ = tfl_scale_clamp(2 * *acc++, tfl_channel(words), low, range);
        }
    } else {
        for (const int32_t *end = acc + count; acc != end; words += 4) {
            *out++ = tfl_scale(s, *acc++, words);
        }
    }
}

#if TFL_MVE
#include "groups_mve.h"
#endif

#endif
