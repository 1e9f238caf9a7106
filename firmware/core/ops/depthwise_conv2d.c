#include "kernel.h"

static int32_t inner_sum(const struct tfl_window *v, int32_t acc, const int8_t *x, const int8_t *w)
{
    uint32_t row = (uint32_t)v->kernel_w * v->in_c;
    uint32_t pitch = (uint32_t)v->in_w * v->in_c;

    for (uint32_t ky = 0; ky < v->kernel_h; ky++) {
        for (uint32_t i = 0; i < row; i += v->in_c) {
            acc += x[i] * *w;
            w += v->out_c;
        }
        x += pitch;
    }
    return acc;
}

static int32_t border_sum(const struct tfl_depthwise_conv2d *op, int32_t acc, const int8_t *in, const int8_t *weights,
                          int32_t y, int32_t x)
{
    const struct tfl_window *v = &op->window;
    struct tfl_span rows = tfl_span(y, v->kernel_h, v->in_h);
    struct tfl_span columns = tfl_span(x, v->kernel_w, v->in_w);

    for (int32_t ky = rows.first; ky < rows.last; ky++) {
        for (int32_t kx = columns.first; kx < columns.last; kx++) {
            int32_t value = in[((y + ky) * v->in_w + x + kx) * v->in_c] - op->in_zero_point;

            acc += value * weights[(ky * v->kernel_w + kx) * v->out_c];
        }
    }
    return acc;
}

static void pixel(const struct tfl_depthwise_conv2d *op, const int8_t *in, int32_t y, int32_t x, int8_t *out)
{
    const struct tfl_window *v = &op->window;
    int inside = y >= 0 && x >= 0 && y <= v->in_h - v->kernel_h && x <= v->in_w - v->kernel_w;
    uint32_t fan_out = (uint32_t)v->out_c / v->in_c;
    uint32_t c = 0;

    for (uint32_t from = 0; from < v->in_c; from++) {
        for (uint32_t m = 0; m < fan_out; m++, c++) {
            int32_t acc = inside ? inner_sum(v, op->bias[c], in + (y * v->in_w + x) * v->in_c + from, op->weights + c)
                                 : border_sum(op, op->border_bias[c], in + from, op->weights + c, y, x);

            out[c] = tfl_scale(&op->scaling, acc, c);
        }
    }
}

void tfl_depthwise_conv2d(const struct tfl_depthwise_conv2d *op, const int8_t *in, int8_t *out)
{
    const struct tfl_window *v = &op->window;

    for (int32_t oy = 0; oy < v->out_h; oy++) {
        for (int32_t ox = 0; ox < v->out_w; ox++) {
            pixel(op, in, oy * v->stride_h - v->top, ox * v->stride_w - v->left, out);
            out += v->out_c;
        }
    }
}
