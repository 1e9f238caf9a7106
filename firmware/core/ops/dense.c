#include "kernel.h"

void tfl_dense(const struct tfl_dense *op, const int8_t *in, int8_t *out)
{
    const int8_t *w = op->weights;

    for (uint32_t c = 0; c < op->outputs; c++) {
        out[c] = tfl_scale(&op->scaling, tfl_dot(op->bias[c], in, w, op->inputs), c);
        w += op->inputs;
    }
}
