#include "patch.h"

static int8_t scaled(const struct tfl_mean *op, int32_t sum)
{
    sum = tfl_requantize(sum + op->offset, op->multiplier, op->shift) + op->out_zero_point; /* |sum| <= 255 * 2^22 */
    return (int8_t)tfl_clamp(sum, INT8_MIN, INT8_MAX);
}

/* Values i to i + 3 of the inner dimension. All is read before the first is written. */
static void mean_of_four(const struct tfl_mean *op, const int8_t *in, int8_t *out)
{
    struct tfl_patch patch = {in, 1u, 0, op->inner, 0};
    int32_t sums[4] = {0, 0, 0, 0};

    for (uint32_t left = op->count; left > 0; left -= patch.columns) {
        int32_t part[4];

        patch.columns = left < TFL_FOUR_MOST ? left : TFL_FOUR_MOST;
        tfl_sum_four(&patch, 0, part);
        patch.from += patch.columns * op->inner;
        for (uint32_t i = 0; i < 4u; i++) {
            sums[i] += part[i];
        }
    }
    for (uint32_t i = 0; i < 4u; i++) {
        out[i] = scaled(op, sums[i]);
    }
}

void tfl_mean(const struct tfl_mean *op, const int8_t *in, int8_t *out)
{
    for (uint32_t o = 0; o < op->outer; o++) {
        uint32_t i = 0;

        for (; i + 4u <= op->inner; i += 4u) {
            mean_of_four(op, in + i, out + i);
        }
        for (; i < op->inner; i++) {
            const int8_t *from = in + i;
            int32_t sum = 0;

            for (uint32_t left = op->count; left > 0; left--) {
                sum += *from;
                from += op->inner;
            }
            out[i] = scaled(op, sum);
        }
        in += op->count * op->inner;
        out += op->inner;
    }
}
