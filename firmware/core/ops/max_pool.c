#include "kernel.h"

static void pixel(const struct tfl_pool *op, const int8_t *in, int32_t y, int32_t x, int8_t *out)
{
    const struct tfl_window *v = &op->window;
    struct tfl_span rows = tfl_span(y, v->kernel_h, v->in_h);
    struct tfl_span columns = tfl_span(x, v->kernel_w, v->in_w);

    for (int32_t c = 0; c < v->out_c; c++) {
        int32_t best = op->low; /* the clamp's lower end */

        for (int32_t ky = rows.first; ky < rows.last; ky++) {
            const int8_t *from = in + ((y + ky) * v->in_w + x + columns.first) * v->in_c + c;

            for (int32_t kx = columns.first; kx < columns.last; kx++) {
                best = tfl_max(best, *from);
                from += v->in_c;
            }
        }
        out[c] = (int8_t)tfl_min(best, op->high);
    }
}

void tfl_max_pool(const struct tfl_pool *op, const int8_t *in, int8_t *out)
{
    const struct tfl_window *v = &op->window;

    for (int32_t oy = 0; oy < v->out_h; oy++) {
        for (int32_t ox = 0; ox < v->out_w; ox++) {
            pixel(op, in, oy * v->stride_h - v->top, ox * v->stride_w - v->left, out);
            out += v->out_c;
        }
    }
}
