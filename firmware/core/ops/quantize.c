#include "kernel.h"

void tfl_quantize(const struct tfl_quantize *op, const int8_t *in, int8_t *out)
{
    for (uint32_t i = 0; i < op->size; i++) {
        int32_t x = tfl_requantize(in[i] - op->in_zero_point, op->multiplier, op->shift) + op->out_zero_point;

        out[i] = (int8_t)tfl_clamp(x, INT8_MIN, INT8_MAX);
    }
}
