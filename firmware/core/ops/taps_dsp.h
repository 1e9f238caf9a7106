/* taps.h for CPUs with the DSP extension. A filter of 3 x 3 stays in six registers, two a line: (w0, w1) and (w1, w2);
   any other one lies in pairs (w0, w1), (w2, 0), ... */
#ifndef TFL_TAPS_DSP_H
#define TFL_TAPS_DSP_H

#include "dsp.h"

#define TFL_TAPS_SHIFT 0

static inline int tfl_taps_are_nine(const struct tfl_depthwise_conv2d *op)
{
    return op->lines.kernel == 3 && op->along.kernel == 3;
}

static TFL_ALONE void tfl_taps_take(const struct tfl_depthwise_conv2d *op, const int8_t *w, int32_t *taps)
{
    uint32_t kernel = op->along.kernel;

    for (uint32_t line = op->lines.kernel; line > 0; line--) {
        if (tfl_taps_are_nine(op)) {
            *taps++ = tfl_pair(2 * w[0], 2 * w[1]);
            *taps++ = tfl_pair(2 * w[1], 2 * w[2]);
        } else {
            for (uint32_t i = 0; i < kernel; i += 2u) {
                *taps++ = tfl_pair(2 * w[i], i + 1u < kernel ? 2 * w[i + 1u] : 0);
            }
        }
        w += kernel;
    }
}

/* Four outputs a turn, as many too many where their number is no multiple of four. */
static TFL_ALONE void tfl_taps_any(const struct tfl_depthwise_conv2d *op, const int32_t *taps, const int16_t *x,
                                   int32_t *sums)
{
    const int32_t *end = sums + op->along.out;
    uint32_t pairs = (op->along.kernel + 1u) / 2u;
    uint32_t stride = op->along.stride;

    for (; sums < end; sums += 4) {
        int32_t acc0 = 0, acc1 = 0, acc2 = 0, acc3 = 0;
        const int32_t *w = taps;
        const int16_t *line = x;

        for (uint32_t lines = op->lines.kernel; lines > 0; lines--) {
            const int16_t *x0 = line, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;

            for (const int32_t *last = w + pairs; w != last; w++) {
                uint32_t pair = (uint32_t)*w;

                acc0 = tfl_smlad(tfl_load2(x0), pair, acc0);
                acc1 = tfl_smlad(tfl_load2(x1), pair, acc1);
                acc2 = tfl_smlad(tfl_load2(x2), pair, acc2);
                acc3 = tfl_smlad(tfl_load2(x3), pair, acc3);
                x0 += 2;
                x1 += 2;
                x2 += 2;
                x3 += 2;
            }
            line += op->pitch;
        }
        sums[0] = acc0;
        sums[1] = acc1;
        sums[2] = acc2;
        sums[3] = acc3;
        x += 4u * stride;
    }
}

/* Line by line (w0, w1) (x0, x1) and w2 x2: the upper half of (w1, w2) times the lower one of (x2, x3). */
static TFL_ALONE void tfl_taps_nine(const int32_t *taps, const int16_t *x, uint32_t pitch, int32_t *sums,
                                    const int32_t *end, uint32_t stride)
{
    uint32_t w01 = (uint32_t)taps[0], w12 = (uint32_t)taps[1], w34 = (uint32_t)taps[2];
    uint32_t w45 = (uint32_t)taps[3], w67 = (uint32_t)taps[4], w78 = (uint32_t)taps[5];

    for (; sums != end; sums++) {
        int32_t sum = tfl_smlatb(w12, tfl_load2(x + 2), tfl_smlad(w01, tfl_load2(x), 0));

        sum = tfl_smlatb(w45, tfl_load2(x + pitch + 2), tfl_smlad(w34, tfl_load2(x + pitch), sum));
        *sums = tfl_smlatb(w78, tfl_load2(x + 2u * pitch + 2), tfl_smlad(w67, tfl_load2(x + 2u * pitch), sum));
        x += stride;
    }
}

#if TFL_ALL_REGISTERS

/* The same with stride 1, two outputs a turn (one too many where their number is odd), of which the second needs w0 x1
   and (w1, w2) (x2, x3). x begins at a word. The end is in memory: no register is left. */
static TFL_ALONE void tfl_taps_pairs(const int32_t *taps, const int16_t *x, uint32_t pitch, int32_t *sums,
                                     const int32_t *end)
{
    const int16_t *x1 = x + pitch;
    const int16_t *x2 = x1 + pitch;

    __asm volatile("1:\n\t"
                   "ldrd r8, r9, [%[x0]], #4\n\t"
                   "smuad r10, %[w01], r8\n\t"
                   "smulbt r11, %[w01], r8\n\t"
                   "smlatb r10, %[w12], r9, r10\n\t"
                   "smlad r11, %[w12], r9, r11\n\t"
                   "ldrd r8, r9, [%[x1]], #4\n\t"
                   "smlad r10, %[w34], r8, r10\n\t"
                   "smlabt r11, %[w34], r8, r11\n\t"
                   "smlatb r10, %[w45], r9, r10\n\t"
                   "smlad r11, %[w45], r9, r11\n\t"
                   "ldrd r8, r9, [%[x2]], #4\n\t"
                   "smlad r10, %[w67], r8, r10\n\t"
                   "smlabt r11, %[w67], r8, r11\n\t"
                   "smlatb r10, %[w78], r9, r10\n\t"
                   "smlad r11, %[w78], r9, r11\n\t"
                   "ldr r8, %[end]\n\t"
                   "strd r10, r11, [%[sums]], #8\n\t"
                   "cmp %[sums], r8\n\t"
                   "bne 1b"
                   : [x0] "+r"(x), [x1] "+r"(x1), [x2] "+r"(x2), [sums] "+r"(sums)
                   : [w01] "r"(taps[0]), [w12] "r"(taps[1]), [w34] "r"(taps[2]), [w45] "r"(taps[3]),
                     [w67] "r"(taps[4]), [w78] "r"(taps[5]), [end] "m"(end)
                   : "r8", "r9", "r10", "r11", "cc", "memory");
}

#else

static inline void tfl_taps_pairs(const int32_t *taps, const int16_t *x, uint32_t pitch, int32_t *sums,
                                  const int32_t *end)
{
    tfl_taps_nine(taps, x, pitch, sums, end, 1u);
}

#endif

static inline void tfl_taps_sum(const struct tfl_depthwise_conv2d *op, const int32_t *taps, const int16_t *x,
                                int32_t *sums)
{
    uint32_t out = op->along.out;

    if (!tfl_taps_are_nine(op)) {
        tfl_taps_any(op, taps, x, sums);
    } else if (op->along.stride == 1) {
        tfl_taps_pairs(taps, x, op->pitch, sums, sums + ((out + 1u) & ~1u));
    } else {
        tfl_taps_nine(taps, x, op->pitch, sums, sums + out, op->along.stride);
    }
}

#endif
