#include "kernel.h"

/* TFLite brings both operands to a common scale, 2^20 times finer than twice the larger one. The operand of that scale
   is multiplied by 2^19, the other one by multiplier / 2^31 / 2^shift; both shifts are at least 1. */
static inline int32_t sum_of(const struct tfl_add *op, int32_t coarse, int32_t fine)
{
    int32_t twice = fine * (1 << 21) + op->fine_offset; /* |.| <= 255 * 2^21 < 2^29 */
    int32_t product = tfl_high_mul_add(twice, op->fine_multiplier, op->fine_half) + (twice >> 31);

    /* |product| < 2^28, |sum| <= 255 * 2^20 < 2^28; twice the sum, as tfl_high_mul_add wants it. */
    twice = coarse * (1 << 20) + op->coarse_offset + 2 * (product >> op->fine_shift);
    product = tfl_high_mul_add(twice, op->multiplier, op->half) + (twice >> 31);
    return (product >> op->shift) + op->zero_point;
}

void tfl_add(const struct tfl_add *op, const int8_t *a, const int8_t *b, int8_t *out)
{
    const struct tfl_add fields = *op; /* so that they may stay in registers while `out` is written */
    const int8_t *end = out + fields.size;
    const int8_t *coarse = fields.swap ? b : a;
    const int8_t *fine = fields.swap ? a : b;

    if (fields.low == INT8_MIN && fields.high == INT8_MAX) {
        while (out != end) {
            *out++ = (int8_t)tfl_saturate8(sum_of(&fields, *coarse++, *fine++));
        }
    } else {
        while (out != end) {
            *out++ = (int8_t)tfl_clamp(sum_of(&fields, *coarse++, *fine++), fields.low, fields.high);
        }
    }
}
