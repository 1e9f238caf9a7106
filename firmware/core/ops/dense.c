#include "rows.h"

static TFL_ALONE void scale_any(const struct tfl_dense *op, const int32_t *acc, uint32_t count, uint32_t c, int8_t *out)
{
    const int32_t *words = op->scaling.channels + c * op->step;

    for (out += c; count > 0; count--) {
        *out++ = tfl_scale(&op->scaling, *acc++, words);
        words += op->step;
    }
}

/* Outputs c to c + 3. */
static inline void scale_four(const struct tfl_dense *op, const int32_t acc[4], uint32_t c, int8_t *out)
{
#if TFL_MVE
    if (op->scaling.kind != TFL_SCALE_ANY) {
        tfl_rows_scale(&op->scaling, acc, op->scaling.channels + c * op->step, op->step, out + c);
        return;
    }
#endif
    if (op->step == 0 && tfl_scale_saturates(&op->scaling)) {
        struct tfl_channel channel = tfl_channel(op->scaling.channels);

        out[c] = tfl_scale_full(2 * acc[0], channel);
        out[c + 1u] = tfl_scale_full(2 * acc[1], channel);
        out[c + 2u] = tfl_scale_full(2 * acc[2], channel);
        out[c + 3u] = tfl_scale_full(2 * acc[3], channel);
    } else if (tfl_scale_saturates(&op->scaling)) {
        const int32_t *words = op->scaling.channels + 4u * c;

        out[c] = tfl_scale_full(2 * acc[0], tfl_channel(words));
        out[c + 1u] = tfl_scale_full(2 * acc[1], tfl_channel(words + 4));
        out[c + 2u] = tfl_scale_full(2 * acc[2], tfl_channel(words + 8));
        out[c + 3u] = tfl_scale_full(2 * acc[3], tfl_channel(words + 12));
    } else {
        const int32_t copy[4] = {acc[0], acc[1], acc[2], acc[3]}; /* so that acc can stay in registers */

        scale_any(op, copy, 4u, c, out);
    }
}

/* Four outputs a turn, then one by one. */
void tfl_dense(const struct tfl_dense *op, const int8_t *in, int8_t *out)
{
    const int8_t *w = op->weights;
    const int32_t *bias = op->bias;
    int32_t sum = tfl_rows_sum(in, op->row);
    uint32_t c = 0;

    for (; c + 4u <= op->outputs; c += 4u) {
        int32_t acc[4] = {bias[c], bias[c + 1u], bias[c + 2u], bias[c + 3u]};

        w = tfl_rows_dot(acc, in, w, op->row, sum);
        scale_four(op, acc, c, out);
    }
    for (w = op->rest; c < op->outputs; c++) {
        int32_t acc = bias[c] + tfl_row_dot(in, w, op->row);

        if (tfl_scale_saturates(&op->scaling)) {
            out[c] = tfl_scale_full(2 * acc, tfl_channel(op->scaling.channels + c * op->step));
        } else {
            scale_any(op, &acc, 1u, c, out);
        }
        w += op->row;
    }
    tfl_clamp_layer(&op->scaling, out, op->outputs);
}
