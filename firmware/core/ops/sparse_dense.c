#ifndef TFL_SPARSE_DENSE
#define TFL_SPARSE_DENSE tfl_sparse_dense /* sparse_dense_large.c has another name, and more code */
#endif

#include "sparse.h"

/* Outputs by any kind of scaling, of one channel or of a channel each. */
static TFL_ALONE void scale_any(const struct tfl_dense *op, const int32_t *sums, uint32_t first, uint32_t count,
                                int8_t *out)
{
    const int32_t *words = op->scaling.channels + first * op->step;

    for (; count > 0; count--) {
        *out++ = tfl_scale(&op->scaling, *sums++, words);
        words += op->step;
    }
}

/* Eight outputs a turn. */
void TFL_SPARSE_DENSE(const struct tfl_dense *op, const int8_t *in, int8_t *out)
{
    const struct tfl_channel channel = tfl_channel(op->scaling.channels);
    const int8_t *w = op->weights, *end = in + op->row;
    const int32_t *bias = op->bias;
    const int32_t low = op->scaling.low, range = op->scaling.high - low;
    const int full = op->step == 0 && tfl_scale_is(&op->scaling, TFL_SCALE_FULL);
    const int clamp = op->step == 0 && tfl_scale_is(&op->scaling, TFL_SCALE_CLAMP);
    const uint32_t outputs = op->outputs;

    for (uint32_t c = 0; c < outputs; c += TFL_GROUP) {
        uint32_t count = outputs - c < TFL_GROUP ? outputs - c : TFL_GROUP;
        int32_t sums[TFL_GROUP];

        w = tfl_sparse_columns(bias, in, w, end, sums);
        bias += TFL_GROUP;
        if (full) {
            for (uint32_t i = 0; i < count; i++) {
                out[i] = tfl_scale_full(2 * sums[i], channel);
            }
        } else if (clamp) {
            for (uint32_t i = 0; i < count; i++) {
                out[i] = tfl_scale_clamp(2 * sums[i], channel, low, range);
            }
        } else {
            scale_any(op, sums, c, count, out);
        }
        out += count;
    }
}
