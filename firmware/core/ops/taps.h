/* The multiply-accumulates of a depthwise convolution: one filter along one output line.

     tfl_taps_take    brings a filter's weights, doubled, into the form that the CPU wants
     tfl_taps_sum     sums[i], for each output i of a line, from the input line at x and those below it: twice the sum
                      of the products, as requantisation wants it
     TFL_TAPS_SHIFT   what lies in scratch is the input plus this

   Lines and sums have room for outputs up to a multiple of four. */
#ifndef TFL_TAPS_H
#define TFL_TAPS_H

#include "kernel.h"

struct tfl_plane {
    int32_t *taps;   /* lines.kernel * along.kernel words and one more */
    int32_t *sums;   /* along.out words, rounded up to a multiple of four */
    int16_t *values; /* [lines][pitch] */
};

#if defined(__ARM_FEATURE_DSP)
#include "taps_dsp.h"
#else

/* An Armv6-M loads from [register + constant] without a sign only. */
#if defined(__ARM_ARCH_7M__)
#define TFL_TAPS_SHIFT 0
#else
#define TFL_TAPS_SHIFT 128
#endif

/* The last word takes back what the shift adds: |.| <= 2^7 * 2^8 * taps. */
static TFL_ALONE void tfl_taps_take(const struct tfl_depthwise_conv2d *op, const int8_t *weights, int32_t *taps)
{
    const int8_t *end = weights + (uint32_t)op->lines.kernel * op->along.kernel;
    int32_t sum = 0;

    while (weights != end) {
        *taps = 2 * *weights++;
        sum += *taps++;
    }
    *taps = -TFL_TAPS_SHIFT * sum;
}

/* tfl_tap: acc[i] += x[i * stride] * w
   tfl_three_taps: the same for three neighbouring inputs and weights, and stride 1 */
#if defined(__ARM_ARCH_6M__) && TFL_ALL_REGISTERS

/* The sums stay in the upper registers. */
#define TFL_PRODUCT(acc, x, w)             \
    "ldrh %[product], " x "\n\t"           \
    "muls %[product], " w ", %[product]\n\t" \
    "add " acc ", %[product]\n\t"

static inline void tfl_tap(int32_t acc[4], const int16_t *x, int32_t w, uint32_t stride)
{
    int32_t product;

    __asm(".syntax unified\n\t"
          TFL_PRODUCT("%[a0]", "[%[x]]", "%[w]")
          TFL_PRODUCT("%[a1]", "[%[x], %[s1]]", "%[w]")
          TFL_PRODUCT("%[a2]", "[%[x], %[s2]]", "%[w]")
          TFL_PRODUCT("%[a3]", "[%[x], %[s3]]", "%[w]")
          : [a0] "+h"(acc[0]), [a1] "+h"(acc[1]), [a2] "+h"(acc[2]), [a3] "+h"(acc[3]), [product] "=&l"(product)
          : [x] "l"(x), [w] "l"(w), [s1] "l"(2u * stride), [s2] "l"(4u * stride), [s3] "l"(6u * stride)
          : "cc", "memory");
}

#define TFL_TAP(w, x0, x1, x2, x3)                \
    TFL_PRODUCT("%[a0]", "[%[x], #" x0 "]", w)    \
    TFL_PRODUCT("%[a1]", "[%[x], #" x1 "]", w)    \
    TFL_PRODUCT("%[a2]", "[%[x], #" x2 "]", w)    \
    TFL_PRODUCT("%[a3]", "[%[x], #" x3 "]", w)

static inline void tfl_three_taps(int32_t acc[4], const int16_t *x, const int32_t *w)
{
    int32_t product;

    __asm(".syntax unified\n\t"
          "ldmia %[w]!, {r0, r1, r2}\n\t"
          TFL_TAP("r0", "0", "2", "4", "6")
          TFL_TAP("r1", "2", "4", "6", "8")
          TFL_TAP("r2", "4", "6", "8", "10")
          : [a0] "+h"(acc[0]), [a1] "+h"(acc[1]), [a2] "+h"(acc[2]), [a3] "+h"(acc[3]), [product] "=&l"(product),
            [w] "+l"(w)
          : [x] "l"(x)
          : "r0", "r1", "r2", "cc", "memory");
}

#undef TFL_TAP
#undef TFL_PRODUCT
#else

static inline void tfl_tap(int32_t acc[4], const int16_t *x, int32_t w, uint32_t stride)
{
    acc[0] += x[0] * w;
    acc[1] += x[stride] * w;
    acc[2] += x[2u * stride] * w;
    acc[3] += x[3u * stride] * w;
}

#if defined(__ARM_ARCH_7M__)

/* Each input once, for all the outputs that it is part of. */
static inline void tfl_three_taps(int32_t acc[4], const int16_t *x, const int32_t *w)
{
    __asm("ldmia %[w], {r8, r9, r10}\n\t"
          "ldrsh r11, [%[x]]\n\t"
          "mla %[a0], r11, r8, %[a0]\n\t"
          "ldrsh r11, [%[x], #2]\n\t"
          "mla %[a0], r11, r9, %[a0]\n\t"
          "mla %[a1], r11, r8, %[a1]\n\t"
          "ldrsh r11, [%[x], #4]\n\t"
          "mla %[a0], r11, r10, %[a0]\n\t"
          "mla %[a1], r11, r9, %[a1]\n\t"
          "mla %[a2], r11, r8, %[a2]\n\t"
          "ldrsh r11, [%[x], #6]\n\t"
          "mla %[a1], r11, r10, %[a1]\n\t"
          "mla %[a2], r11, r9, %[a2]\n\t"
          "mla %[a3], r11, r8, %[a3]\n\t"
          "ldrsh r11, [%[x], #8]\n\t"
          "mla %[a2], r11, r10, %[a2]\n\t"
          "mla %[a3], r11, r9, %[a3]\n\t"
          "ldrsh r11, [%[x], #10]\n\t"
          "mla %[a3], r11, r10, %[a3]"
          : [a0] "+r"(acc[0]), [a1] "+r"(acc[1]), [a2] "+r"(acc[2]), [a3] "+r"(acc[3])
          : [x] "r"(x), [w] "r"(w)
          : "r8", "r9", "r10", "r11", "memory");
}

#else

static inline void tfl_three_taps(int32_t acc[4], const int16_t *x, const int32_t *w)
{
    for (uint32_t i = 0; i < 3u; i++) {
        tfl_tap(acc, x + i, w[i], 1u);
    }
}

#endif
#endif

/* Four outputs a turn: a filter of 3 x 3 with stride 1. */
static TFL_ALONE void tfl_taps_nine(const int32_t *taps, const int16_t *x, uint32_t pitch, int32_t *sums,
                                    const int32_t *end)
{
    const int16_t *x1 = x + pitch;
    const int16_t *x2 = x1 + pitch;

    for (; sums < end; sums += 4) {
        int32_t acc[4] = {taps[9], taps[9], taps[9], taps[9]};

        tfl_three_taps(acc, x, taps);
        tfl_three_taps(acc, x1, taps + 3);
        tfl_three_taps(acc, x2, taps + 6);
        sums[0] = acc[0];
        sums[1] = acc[1];
        sums[2] = acc[2];
        sums[3] = acc[3];
        x += 4;
        x1 += 4;
        x2 += 4;
    }
}

/* Any other. */
static TFL_ALONE void tfl_taps_any(const struct tfl_depthwise_conv2d *op, const int32_t *taps, const int16_t *x,
                                   int32_t *sums)
{
    const int32_t *end = sums + op->along.out;
    uint32_t stride = op->along.stride;
    uint32_t kernel = op->along.kernel;
    uint32_t lines = op->lines.kernel;
    int32_t start = taps[lines * kernel];

    for (; sums < end; sums += 4) {
        int32_t acc[4] = {start, start, start, start};
        const int32_t *w = taps;
        const int16_t *line = x;

        for (uint32_t left = lines; left > 0; left--) {
            const int16_t *tap = line;

            for (const int32_t *last = w + kernel; w != last; w++) {
                tfl_tap(acc, tap++, *w, stride);
            }
            line += op->pitch;
        }
        sums[0] = acc[0];
        sums[1] = acc[1];
        sums[2] = acc[2];
        sums[3] = acc[3];
        x += 4u * stride;
    }
}

static inline void tfl_taps_sum(const struct tfl_depthwise_conv2d *op, const int32_t *taps, const int16_t *x,
                                int32_t *sums)
{
    if (op->lines.kernel == 3 && op->along.kernel == 3 && op->along.stride == 1) {
        tfl_taps_nine(taps, x, op->pitch, sums, sums + op->along.out);
    } else {
        tfl_taps_any(op, taps, x, sums);
    }
}

#endif
#endif
