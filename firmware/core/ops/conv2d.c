#include "kernel.h"

#include <stddef.h>

/* A row of the window is contiguous in the input as well as in the weights. */
static void inner_pixel(const struct tfl_conv2d *op, const int8_t *in, int8_t *out)
{
    const struct tfl_window *v = &op->window;
    uint32_t row = (uint32_t)v->kernel_w * v->in_c;
    uint32_t pitch = (uint32_t)v->in_w * v->in_c;
    const int8_t *w = op->weights;

    for (uint32_t c = 0; c < v->out_c; c++) {
        const int8_t *x = in;
        int32_t acc = op->bias[c];

        for (uint32_t ky = 0; ky < v->kernel_h; ky++) {
            acc = tfl_dot(acc, x, w, row);
            x += pitch;
            w += row;
        }
        out[c] = tfl_scale(&op->scaling, acc, c);
    }
}

static void border_pixel(const struct tfl_conv2d *op, const int8_t *in, int32_t y, int32_t x, int8_t *out)
{
    const struct tfl_window *v = &op->window;
    struct tfl_span rows = tfl_span(y, v->kernel_h, v->in_h);
    struct tfl_span columns = tfl_span(x, v->kernel_w, v->in_w);
    uint32_t n = (uint32_t)(columns.last - columns.first) * v->in_c;

    for (int32_t c = 0; c < v->out_c; c++) {
        int32_t acc = op->border_bias[c];

        for (int32_t ky = rows.first; ky < rows.last; ky++) {
            const int8_t *from = in + ((y + ky) * v->in_w + x + columns.first) * v->in_c;
            const int8_t *w = op->weights + ((c * v->kernel_h + ky) * v->kernel_w + columns.first) * v->in_c;

            acc = tfl_dot_centred(acc, from, w, n, op->in_zero_point);
        }
        out[c] = tfl_scale(&op->scaling, acc, (uint32_t)c);
    }
}

void tfl_conv2d(const struct tfl_conv2d *op, const int8_t *in, int8_t *out)
{
    const struct tfl_window *v = &op->window;
    int32_t last_y = v->in_h - v->kernel_h;
    int32_t last_x = v->in_w - v->kernel_w;

    for (int32_t oy = 0; oy < v->out_h; oy++) {
        int32_t y = oy * v->stride_h - v->top;

        for (int32_t ox = 0; ox < v->out_w; ox++) {
            int32_t x = ox * v->stride_w - v->left;

            if (y < 0 || x < 0 || y > last_y || x > last_x) {
                border_pixel(op, in, y, x, out);
            } else {
                inner_pixel(op, in + (y * v->in_w + x) * v->in_c, out);
            }
            out += v->out_c;
        }
    }
}
