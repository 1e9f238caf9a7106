/* The part of a pool's window that lies inside the input, for one channel after the other. */
#ifndef TFL_PATCH_H
#define TFL_PATCH_H

#include "kernel.h"

#if TFL_MVE
#include <arm_mve.h>
#endif

#if defined(__ARM_FEATURE_DSP)
#include "dsp.h"
#endif

struct tfl_patch {
    const int8_t *from; /* of channel 0 */
    uint32_t rows, columns, step;
    uint32_t skip; /* from the end of a row to the next one */
};

/* y, x: where the window's first tap lies. Rows as wide as the input are one long row. */
static inline struct tfl_patch tfl_patch(const struct tfl_window *v, const int8_t *in, int32_t y, int32_t x)
{
    struct tfl_span rows = tfl_span(y, v->kernel_h, v->in_h);
    struct tfl_span columns = tfl_span(x, v->kernel_w, v->in_w);
    struct tfl_patch patch;

    patch.from = in + ((y + rows.first) * v->in_w + x + columns.first) * v->in_c;
    patch.rows = (uint32_t)(rows.last - rows.first);
    patch.columns = (uint32_t)(columns.last - columns.first);
    patch.step = v->in_c;
    patch.skip = (v->in_w - patch.columns) * v->in_c;
    if (patch.columns == v->in_w) {
        patch.columns *= patch.rows;
        patch.rows = 1;
    }
    return patch;
}

#define TFL_FOUR_MOST 256u /* values of a channel that tfl_sum_four takes: 2^8 * 2^7 is int16's range */

/* The sums of channels c to c + 3. */
static inline void tfl_sum_four(const struct tfl_patch *patch, uint32_t c, int32_t sums[4])
{
    const int8_t *from = patch->from + c;
    uint32_t step = patch->step;
#if TFL_MVE
    int32x4_t sum = vdupq_n_s32(0);

    for (uint32_t rows = patch->rows; rows > 0; rows--) {
        for (uint32_t left = patch->columns; left > 0; left--) {
            sum = vaddq_s32(sum, vldrbq_s32(from));
            from += step;
        }
        from += patch->skip;
    }
    vstrwq_s32(sums, sum);
#elif defined(__ARM_FEATURE_DSP)
    uint32_t even = 0, odd = 0; /* two sums each */

    for (uint32_t rows = patch->rows; rows > 0; rows--) {
        for (uint32_t left = patch->columns; left > 0; left--) {
            uint32_t word = tfl_load4(from);

            even = tfl_add_even(even, word);
            odd = tfl_add_odd(odd, word);
            from += step;
        }
        from += patch->skip;
    }
    sums[0] = (int16_t)even;
    sums[1] = (int16_t)odd;
    sums[2] = (int32_t)even >> 16;
    sums[3] = (int32_t)odd >> 16;
#else
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;

    for (uint32_t rows = patch->rows; rows > 0; rows--) {
        for (uint32_t left = patch->columns; left > 0; left--) {
            sum0 += from[0];
            sum1 += from[1];
            sum2 += from[2];
            sum3 += from[3];
            from += step;
        }
        from += patch->skip;
    }
    sums[0] = sum0;
    sums[1] = sum1;
    sums[2] = sum2;
    sums[3] = sum3;
#endif
}

#endif
