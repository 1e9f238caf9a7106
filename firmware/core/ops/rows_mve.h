/* rows.h for CPUs with Helium: VMLADAVA adds sixteen products of int8. A block holds four weights of each row, so VLD4
   of four blocks gives sixteen weights of each row. */
#ifndef TFL_ROWS_MVE_H
#define TFL_ROWS_MVE_H

#include "mve.h"

static inline int32_t tfl_rows_sum(const int8_t *x, uint32_t n)
{
    (void)x;
    (void)n;
    return 0;
}

static inline int32_t tfl_row_dot(const int8_t *x, const int8_t *w, uint32_t n)
{
    int32_t acc = 0;

    for (int32_t left = (int32_t)n; left > 0; left -= 16) {
        mve_pred16_t inside = vctp8q((uint32_t)left);

        acc = vmladavaq_p_s8(acc, vldrbq_z_s8(x, inside), vldrbq_z_s8(w, inside), inside);
        x += 16;
        w += 16;
    }
    return acc;
}

/* The last one to three blocks. */
static TFL_ALONE const int8_t *tfl_rows_tail(int32_t acc[4], const int8_t *x, const int8_t *w, uint32_t n)
{
    mve_pred16_t inside = vctp8q(n);
    uint32x4_t blocks = vshlq_n_u32(vidupq_n_u32(0, 8), 1); /* 0, 16, 32, 48 */
    int8x16_t inputs = vldrbq_z_s8(x, inside);

    for (unsigned row = 0; row < 4u; row++) {
        const int32_t *from = (const int32_t *)(const void *)(w + 4u * row);

        acc[row] = vmladavaq_s8(acc[row], inputs,
                                vreinterpretq_s8_s32(vldrwq_gather_offset_z_s32(from, blocks, inside)));
    }
    return w + 4u * n;
}

static inline const int8_t *tfl_rows_dot(int32_t acc[4], const int8_t *x, const int8_t *w, uint32_t n, int32_t sum)
{
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];

    (void)sum;
    for (uint32_t left = n / 16u; left > 0; left--) {
        int8x16_t inputs = vldrbq_s8(x);
        int32x4x4_t rows = vld4q_s32((const int32_t *)(const void *)w);

        a0 = vmladavaq_s8(a0, inputs, vreinterpretq_s8_s32(rows.val[0]));
        a1 = vmladavaq_s8(a1, inputs, vreinterpretq_s8_s32(rows.val[1]));
        a2 = vmladavaq_s8(a2, inputs, vreinterpretq_s8_s32(rows.val[2]));
        a3 = vmladavaq_s8(a3, inputs, vreinterpretq_s8_s32(rows.val[3]));
        x += 16;
        w += 64;
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
    return n % 16u > 0 ? tfl_rows_tail(acc, x, w, n % 16u) : w;
}

/* Four outputs, with one channel's words (step 0) or with those of four; any kind but TFL_SCALE_ANY. */
static inline void tfl_rows_scale(const struct tfl_scaling *s, const int32_t acc[4], const int32_t *words,
                                  uint32_t step, int8_t *out)
{
    int32x4_t sums = vldrwq_s32(acc);

    if (step == 0) {
        vstrbq_s32(out, tfl_scale_four_alike(s, sums, words));
    } else {
        int32x4x4_t channels = vld4q_s32(words);

        vstrbq_s32(out, tfl_scale_four(s, sums, channels.val[1], channels.val[2], channels.val[3]));
    }
}

#endif
