#include "patch.h"

/* |sum| <= 2^7 * 2^16 */
static TFL_ALONE int32_t sum_of(const struct tfl_patch *patch, uint32_t c)
{
    const int8_t *from = patch->from + c;
    uint32_t step = patch->step;
    int32_t sum = 0;

    for (uint32_t rows = patch->rows; rows > 0; rows--) {
        for (uint32_t left = patch->columns; left > 0; left--) {
            sum += *from;
            from += step;
        }
        from += patch->skip;
    }
    return sum;
}

/* sum / count, rounded half away from zero; inverse = 2^24 / count, rounded up. A core without a divider would take
   hundreds of instructions for each value. n <= 129 count. */
static inline int32_t rounded_mean(int32_t sum, uint32_t count, uint32_t inverse)
{
    int32_t sign = sum >> 31;
    uint32_t n = (uint32_t)((sum ^ sign) - sign) + count / 2u;
    uint32_t mean = n * inverse >> 24; /* n * inverse < 129 (2^24 + count) < 2^32 */

    /* It is too large by less than n count / 2^24 / count: by none where that is below 1 / count, by one else. */
    if (count > TFL_FOUR_MOST) {
        mean -= mean * count > n ? 1u : 0u;
    }
    return ((int32_t)mean ^ sign) - sign;
}

void tfl_average_pool(const struct tfl_pool *op, const int8_t *in, int8_t *out)
{
    const struct tfl_window *v = &op->window;
    uint32_t count = 0, inverse = 0;

    for (int32_t oy = 0; oy < v->out_h; oy++) {
        for (int32_t ox = 0; ox < v->out_w; ox++) {
            struct tfl_patch patch = tfl_patch(v, in, oy * v->stride_h - v->top, ox * v->stride_w - v->left);
            uint32_t c = 0;

            if (count != patch.rows * patch.columns) { /* seldom: it changes at borders only */
                count = patch.rows * patch.columns;
                inverse = ((1u << 24) + count - 1u) / count;
            }
            for (; c + 4u <= v->out_c && count <= TFL_FOUR_MOST; c += 4u) {
                int32_t sums[4];

                tfl_sum_four(&patch, c, sums);
                for (uint32_t i = 0; i < 4u; i++) {
                    out[c + i] = (int8_t)tfl_clamp(rounded_mean(sums[i], count, inverse), op->low, op->high);
                }
            }
            for (; c < v->out_c; c++) {
                out[c] = (int8_t)tfl_clamp(rounded_mean(sum_of(&patch, c), count, inverse), op->low, op->high);
            }
            out += v->out_c;
        }
    }
}
