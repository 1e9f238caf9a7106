#include "kernel.h"

void tfl_quantize(const struct tfl_quantize *op, const int8_t *in, int8_t *out)
{
    const int8_t *table = op->table;
    const int8_t *end = in + (op->size & ~3u);

    for (; in != end; in += 4) {
        int8_t a = table[(uint8_t)in[0]], b = table[(uint8_t)in[1]];
        int8_t c = table[(uint8_t)in[2]], d = table[(uint8_t)in[3]];

        out[0] = a;
        out[1] = b;
        out[2] = c;
        out[3] = d;
        out += 4;
    }
    for (uint32_t left = op->size & 3u; left > 0; left--) {
        *out++ = table[(uint8_t)*in++];
    }
}
