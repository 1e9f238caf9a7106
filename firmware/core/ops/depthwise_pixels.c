#include "kernel.h"
#include "groups.h"

/* Where the taps of window (y, x) lie, from the input's start; those in the padding all lie at `nothing`. */
static TFL_ALONE void find_taps(const struct tfl_window *v, int32_t y, int32_t x, int32_t nothing, int32_t *taps)
{
    for (int32_t ky = y; ky < y + v->kernel_h; ky++) {
        for (int32_t kx = x; kx < x + v->kernel_w; kx++) {
            int inside = ky >= 0 && ky < v->in_h && kx >= 0 && kx < v->in_w;

            *taps++ = inside ? (ky * v->in_w + kx) * v->in_c : nothing;
        }
    }
}

#if !TFL_MVE

static inline void scale_four(const struct tfl_scaling *s, const int32_t acc[4], const int32_t *words, int8_t *out)
{
    if (tfl_scale_saturates(s)) {
        out[0] = tfl_scale_full(2 * acc[0], tfl_channel(words));
        out[1] = tfl_scale_full(2 * acc[1], tfl_channel(words + 4));
        out[2] = tfl_scale_full(2 * acc[2], tfl_channel(words + 8));
        out[3] = tfl_scale_full(2 * acc[3], tfl_channel(words + 12));
    } else {
        const int32_t copy[4] = {acc[0], acc[1], acc[2], acc[3]}; /* so that acc can stay in registers */

        tfl_group_scale(s, copy, words, 4u, out);
    }
}

/* One output pixel of four channels; returns where the next group's weights lie. */
static inline const int16_t *tfl_group_pixel(const struct tfl_scaling *s, const int8_t *in, const int32_t *taps,
                                             const int16_t *w, uint32_t count, const int32_t *words, int8_t *out)
{
    int32_t acc[4] = {words[0], words[4], words[8], words[12]};

    w = tfl_group_dot(acc, in, taps, w, count);
    scale_four(s, acc, words, out);
    return w;
}

#endif

/* One output pixel: four channels a turn, then what is left, one by one. */
static TFL_ALONE void pixel(const struct tfl_depthwise_pixels *op, const int8_t *in, const int32_t *taps, int8_t *out)
{
    uint32_t count = (uint32_t)op->window.kernel_h * op->window.kernel_w;
    uint32_t c = 0, channels = op->window.in_c;
    const int32_t *words = op->scaling.channels;
    const int16_t *w = op->weights;

    for (; c + 4u <= channels; c += 4u) {
        w = tfl_group_pixel(&op->scaling, in + c, taps, w, count, words, out + c);
        words += 16;
    }
    for (uint32_t i = 0; c < channels; c++, i++) {
        int32_t acc = words[0];

        for (uint32_t tap = 0; tap < count; tap++) {
            acc += in[taps[tap] + (int32_t)c] * w[4u * tap + TFL_GROUP_PLACE(i)];
        }
        tfl_group_scale(&op->scaling, &acc, words, 1u, out + c);
        words += 4;
    }
}

/* Scratch: the taps of one window, and a pixel of padding. Between borders the taps stay, and the input moves on. */
void tfl_depthwise_pixels(const struct tfl_depthwise_pixels *op, const int8_t *in, int8_t *out, int8_t *scratch)
{
    const struct tfl_window *v = &op->window;
    int32_t *taps = (int32_t *)(void *)scratch;
    int8_t *padding = scratch + 4u * v->kernel_h * v->kernel_w;
    int32_t nothing = (int32_t)(padding - in);
    int8_t *all = out;
    int ready = 0;

    for (int32_t c = 0; c < v->in_c; c++) {
        padding[c] = op->in_zero_point;
    }
    for (int32_t y = -(int32_t)v->top, oy = 0; oy < v->out_h; oy++, y += v->stride_h) {
        for (int32_t x = -(int32_t)v->left, ox = 0; ox < v->out_w; ox++, x += v->stride_w) {
            int inside = y >= 0 && y + v->kernel_h <= v->in_h && x >= 0 && x + v->kernel_w <= v->in_w;

            if (!inside) {
                find_taps(v, y, x, nothing, taps);
            } else if (!ready) {
                find_taps(v, 0, 0, nothing, taps);
            }
            ready = inside;
            pixel(op, inside ? in + (y * v->in_w + x) * v->in_c : in, taps, out);
            out += v->in_c;
        }
    }
    tfl_clamp_layer(&op->scaling, all, (uint32_t)(out - all));
}
