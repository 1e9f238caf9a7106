#include "kernel.h"
#include "runs.h"

void tfl_pad(const struct tfl_pad *op, const int8_t *in, int8_t *out)
{
    uint32_t column = op->before_c + op->in_c + op->after_c;
    uint32_t row = column * (op->before_w + op->in_w + op->after_w);

    out = tfl_fill(out, op->value, op->before_h * row);
    for (uint32_t y = 0; y < op->in_h; y++) {
        out = tfl_fill(out, op->value, op->before_w * column);
        for (uint32_t x = 0; x < op->in_w; x++) {
            out = tfl_fill(out, op->value, op->before_c);
            out = tfl_copy(out, in, op->in_c);
            out = tfl_fill(out, op->value, op->after_c);
            in += op->in_c;
        }
        out = tfl_fill(out, op->value, op->after_w * column);
    }
    (void)tfl_fill(out, op->value, op->after_h * row);
}
