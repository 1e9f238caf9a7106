#include "kernel.h"

/* Rounded half away from zero; |sum| <= 2^7 * 2^16. */
static int32_t rounded_mean(int32_t sum, int32_t count)
{
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

static void pixel(const struct tfl_pool *op, const int8_t *in, int32_t y, int32_t x, int8_t *out)
{
    const struct tfl_window *v = &op->window;
    struct tfl_span rows = tfl_span(y, v->kernel_h, v->in_h);
    struct tfl_span columns = tfl_span(x, v->kernel_w, v->in_w);
    int32_t count = (rows.last - rows.first) * (columns.last - columns.first);

    for (int32_t c = 0; c < v->out_c; c++) {
        int32_t sum = 0;

        for (int32_t ky = rows.first; ky < rows.last; ky++) {
            const int8_t *from = in + ((y + ky) * v->in_w + x + columns.first) * v->in_c + c;

            for (int32_t kx = columns.first; kx < columns.last; kx++) {
                sum += *from;
                from += v->in_c;
            }
        }
        out[c] = (int8_t)tfl_clamp(rounded_mean(sum, count), op->low, op->high);
    }
}

void tfl_average_pool(const struct tfl_pool *op, const int8_t *in, int8_t *out)
{
    const struct tfl_window *v = &op->window;

    for (int32_t oy = 0; oy < v->out_h; oy++) {
        for (int32_t ox = 0; ox < v->out_w; ox++) {
            pixel(op, in, oy * v->stride_h - v->top, ox * v->stride_w - v->left, out);
            out += v->out_c;
        }
    }
}
