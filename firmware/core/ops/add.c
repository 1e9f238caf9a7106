#include "kernel.h"

void tfl_add(const struct tfl_add *op, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (uint32_t i = 0; i < op->size; i++) {
        int32_t x = (a[i] + op->offset_a) * (1 << 20); /* |x| <= 255 * 2^20 < 2^28 */
        int32_t y = (b[i] + op->offset_b) * (1 << 20);
        int32_t sum = tfl_requantize(x, op->multiplier_a, op->shift_a) + tfl_requantize(y, op->multiplier_b, op->shift_b);

        sum = tfl_requantize(sum, op->multiplier_out, op->shift_out) + op->out_zero_point;
        out[i] = (int8_t)tfl_clamp(sum, op->low, op->high);
    }
}
