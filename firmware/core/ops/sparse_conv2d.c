#include "sparse.h"
#include "window.h"

/* An output pixel. */
struct place {
    int32_t y, x;
};

static struct place next_place(const struct tfl_conv2d *op, struct place at)
{
    if (++at.x == op->window.out_w) {
        at.x = 0;
        at.y++;
    }
    return at;
}

/* Where a window is a run of bytes in the input, that; else a copy of it, with its padding. */
static const int8_t *window_at(const struct tfl_conv2d *op, const int8_t *in, struct place at, int8_t *copy)
{
    const struct tfl_window *v = &op->window;
    int32_t y = at.y * v->stride_h - v->top;
    int32_t x = at.x * v->stride_w - v->left;

    if (y >= 0 && x >= 0 && y + v->kernel_h <= v->in_h && x + v->kernel_w <= v->in_w &&
        (v->kernel_h == 1 || v->kernel_w == v->in_w)) {
        return in + (y * v->in_w + x) * v->in_c;
    }
    tfl_copy_window(op, in, y, x, copy);
    return copy;
}

/* The kind of scaling is a constant, and most turns have an even number of pixels. */
static inline int8_t scaled(const struct tfl_scaling *s, int kind, int32_t twice, struct tfl_channel channel)
{
    return kind == TFL_SCALE_FULL ? tfl_scale_full(twice, channel)
                                  : tfl_scale_clamp(twice, channel, s->low, s->high - s->low);
}

static inline void scale_fast(const struct tfl_scaling *s, int kind, const int32_t *sums, struct tfl_channel channel,
                              int32_t count, int8_t *out, uint32_t step)
{
    const struct tfl_scaling copy = *s; /* out may not alias it */
    const int32_t bias = 2 * channel.bias;

    for (; count >= 2; count -= 2) {
        out[0] = scaled(&copy, kind, 2 * sums[0] + bias, channel);
        out[step] = scaled(&copy, kind, 2 * sums[1] + bias, channel);
        sums += 2;
        out += 2u * step;
    }
    if (count > 0) {
        *out = scaled(&copy, kind, 2 * *sums + bias, channel);
    }
}

/* One channel of `count` pixels. */
static inline void scale_pixels(const struct tfl_scaling *s, const int32_t *sums, const int32_t *words, int32_t count,
                                int8_t *out, uint32_t step)
{
    if (tfl_scale_is(s, TFL_SCALE_FULL)) {
        scale_fast(s, TFL_SCALE_FULL, sums, tfl_channel(words), count, out, step);
    } else if (tfl_scale_is(s, TFL_SCALE_CLAMP)) {
        scale_fast(s, TFL_SCALE_CLAMP, sums, tfl_channel(words), count, out, step);
    } else {
        for (; count > 0; count--) {
            *out = tfl_scale(s, *sums++ + words[0], words);
            out += step;
        }
    }
}

#if TFL_HELIUM
#include "sparse_mve.h"
#else

/* The next `count` pixels into scratch, as many at a time as share a word. */
static struct place put_pixels(const struct tfl_conv2d *op, const int8_t *in, struct place at, int32_t count,
                               int8_t *scratch, unsigned words)
{
    int32_t *x = (int32_t *)(void *)scratch;
    int8_t *copies = scratch + 4u * op->lanes * op->row;

    for (; count > 0; count -= TFL_SPARSE_PIXELS) {
        const int8_t *from[TFL_SPARSE_PIXELS] = {in};

        for (int32_t i = 0; i < TFL_SPARSE_PIXELS; i++) {
            if (i >= count) {
                from[i] = from[0];
                continue;
            }
            from[i] = window_at(op, in, at, copies + (uint32_t)i * op->row);
            at = next_place(op, at);
        }
        tfl_sparse_put(x++, words, from, op->row);
    }
    return at;
}

/* The same overlap as tfl_conv2d: a turn's inputs are in scratch before its outputs are written. The lanes that a last
   turn has too many hold anything, and nobody reads what comes of them. */
void tfl_sparse_conv2d(const struct tfl_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch)
{
    const int32_t *x = (const int32_t *)(const void *)scratch;
    uint32_t places = (op->row + TFL_GROUP - 1u) / TFL_GROUP * TFL_GROUP;
    int32_t left = op->window.out_h * op->window.out_w;
    uint32_t step = op->window.out_c;
    struct place at = {0, 0};

    while (left > 0) {
        unsigned words = left <= 2 * TFL_SPARSE_PIXELS ? 2u : op->lanes;
        int32_t count = tfl_min((int32_t)words * TFL_SPARSE_PIXELS, left);
        const int8_t *w = op->weights;
        const int32_t *channel = op->scaling.channels;

        at = put_pixels(op, in, at, count, scratch, words);
        for (uint32_t c = 0; c < step; c++) {
            int32_t sums[TFL_SPARSE_MOST];

            w = tfl_sparse_lanes(sums, x, w, x + words * places, words);
            scale_pixels(&op->scaling, sums, channel, count, out + c, step);
            channel += 4;
        }
        out += (uint32_t)count * step;
        left -= count;
    }
}

#endif
