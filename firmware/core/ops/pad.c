#include "kernel.h"

#include <string.h>

static int8_t *fill(int8_t *out, int8_t value, uint32_t n)
{
    memset(out, value, n);
    return out + n;
}

void tfl_pad(const struct tfl_pad *op, const int8_t *in, int8_t *out)
{
    uint32_t column = (uint32_t)op->before_c + op->in_c + op->after_c;
    uint32_t row = column * ((uint32_t)op->before_w + op->in_w + op->after_w);

    out = fill(out, op->value, op->before_h * row);
    for (uint32_t y = 0; y < op->in_h; y++) {
        out = fill(out, op->value, op->before_w * column);
        for (uint32_t x = 0; x < op->in_w; x++) {
            out = fill(out, op->value, op->before_c);
            memcpy(out, in, op->in_c);
            out = fill(out + op->in_c, op->value, op->after_c);
            in += op->in_c;
        }
        out = fill(out, op->value, op->after_w * column);
    }
    (void)fill(out, op->value, op->after_h * row);
}
