#include "kernel.h"

void tfl_mean(const struct tfl_mean *op, const int8_t *in, int8_t *out)
{
    for (uint32_t o = 0; o < op->outer; o++) {
        for (uint32_t i = 0; i < op->inner; i++) {
            const int8_t *from = in + i;
            int32_t sum = op->offset; /* |sum| <= 255 * 2^22 */

            for (uint32_t k = 0; k < op->count; k++) {
                sum += *from;
                from += op->inner;
            }
            sum = tfl_requantize(sum, op->multiplier, op->shift) + op->out_zero_point;
            *out++ = (int8_t)tfl_clamp(sum, INT8_MIN, INT8_MAX);
        }
        in += op->count * op->inner;
    }
}
