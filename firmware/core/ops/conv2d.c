#include "kernel.h"
#include "lanes.h"
#include "window.h"

#ifndef TFL_CONV2D
#define TFL_CONV2D tfl_conv2d /* wide_conv2d.c has another name, and other weights */
#endif

/* A run of a window's inputs into a lane, from its start on or behind a run of a multiple of four. */
static inline void put_run(int32_t *lane, int32_t lanes, const int8_t *from, uint32_t count)
{
    if (TFL_HELIUM) {
        tfl_lane_put(lane, (unsigned)lanes, from, count);
    } else if (lanes == TFL_LANES) {
        tfl_lane_put(lane, TFL_LANES, from, count);
    } else if (lanes == TFL_PAIR) {
        tfl_lane_put(lane, TFL_PAIR, from, count);
    } else {
        tfl_lane_put(lane, 1u, from, count);
    }
}

/* A window inside the input, row by row, each a multiple of TFL_RUN. */
static TFL_ALONE void put_rows(const struct tfl_window *v, const int8_t *from, int32_t *lane, int32_t lanes)
{
    uint32_t run = (uint32_t)v->kernel_w * v->in_c;

    for (uint32_t left = v->kernel_h; left > 0; left--) {
        put_run(lane, lanes, from, run);
        lane += TFL_RUN_WORDS(run) * (uint32_t)lanes;
        from += (uint32_t)v->in_w * v->in_c;
    }
}

/* Output pixel (oy, ox) into a lane. A window that reaches beyond the input is copied, and one of rows that do not fill
   words; rows as wide as the input are one run of bytes. */
static TFL_ALONE void put_pixel(const struct tfl_conv2d *op, const int8_t *in, int32_t oy, int32_t ox, int32_t *lane,
                                int32_t lanes, int8_t *window)
{
    const struct tfl_window *v = &op->window;
    uint32_t run = (uint32_t)v->kernel_w * v->in_c;
    int32_t y = oy * v->stride_h - v->top;
    int32_t x = ox * v->stride_w - v->left;
    int inside = y >= 0 && y + v->kernel_h <= v->in_h && x >= 0 && x + v->kernel_w <= v->in_w;
    int single = v->kernel_h == 1 || v->kernel_w == v->in_w;

    if (inside && !single && run % TFL_RUN == 0u) {
        put_rows(v, in + (y * v->in_w + x) * v->in_c, lane, lanes);
    } else {
        if (!inside || !single) {
            tfl_copy_window(op, in, y, x, window);
            in = window;
        } else {
            in += (y * v->in_w + x) * v->in_c;
        }
        put_run(lane, lanes, in, run * v->kernel_h);
    }
}

#if TFL_HELIUM

static inline void filters(const struct tfl_conv2d *op, const int32_t *area, int8_t *const out[TFL_LANES],
                           int32_t lanes)
{
    uint32_t count = op->window.out_c;

    if (lanes == TFL_LANES && op->scaling.kind != TFL_SCALE_ANY && count >= TFL_FILTERS_LEAST &&
        count <= TFL_FILTERS_MOST) {
        tfl_filters(op, area, out);
    } else {
        for (int32_t lane = 0; lane < lanes; lane++) {
            tfl_lane_filters(op, area + lane * TFL_LANE_WORDS, (uint32_t)lanes, out[lane]);
        }
    }
}

#else

/* full: a constant, so that the usual loop has no branch. */
static inline void filters_scaled(const struct tfl_conv2d *op, const int32_t *lanes, int8_t *const out[TFL_LANES],
                                  int full)
{
    const int32_t *words = op->scaling.channels;
    const int8_t *w = op->weights;
    uint32_t row = op->row;
    uint32_t count = op->window.out_c;

    for (uint32_t c = 0; c < count; c++) {
        int32_t acc[TFL_LANES] = {words[0], words[0], words[0], words[0]};

        w = tfl_lanes_dot(acc, lanes, w, row);
        tfl_lanes_scale(&op->scaling, full, acc, words, c, out);
        words += 4;
    }
}

static TFL_ALONE void filters_of_four(const struct tfl_conv2d *op, const int32_t *lanes, int8_t *const out[TFL_LANES])
{
    if (tfl_scale_saturates(&op->scaling)) {
        filters_scaled(op, lanes, out, 1);
    } else {
        filters_scaled(op, lanes, out, 0);
    }
}

static TFL_ALONE void filters_of_two(const struct tfl_conv2d *op, const int32_t *lanes, int8_t *const out[TFL_LANES])
{
    const int32_t *words = op->scaling.channels;
    const int8_t *w = op->weights;

    for (uint32_t c = 0; c < op->window.out_c; c++) {
        int32_t acc[TFL_PAIR] = {words[0], words[0]};

        w = tfl_pair_dot(acc, lanes, w, op->row);
        out[0][c] = tfl_scale(&op->scaling, acc[0], words);
        out[1][c] = tfl_scale(&op->scaling, acc[1], words);
        words += 4;
    }
}

static TFL_ALONE void filters_of_one(const struct tfl_conv2d *op, const int32_t *lane, int8_t *out)
{
    const int32_t *words = op->scaling.channels;
    const int8_t *w = op->weights;

    for (int8_t *end = out + op->window.out_c; out != end; out++) {
        *out = tfl_scale(&op->scaling, tfl_lane_dot(words[0], lane, w, op->row), words);
        w += TFL_WEIGHT_BYTES * op->row;
        words += 4;
    }
}

static inline void filters(const struct tfl_conv2d *op, const int32_t *area, int8_t *const out[TFL_LANES],
                           int32_t lanes)
{
    if (lanes == TFL_LANES) {
        filters_of_four(op, area, out);
    } else if (lanes == TFL_PAIR) {
        filters_of_two(op, area, out);
    } else {
        filters_of_one(op, area, out[0]);
    }
}

#endif

/* As many pixels a turn as scratch has lanes. Where fewer are left, but more than one, the last one takes the other
   lanes as well. All inputs of a turn are in scratch before its outputs are written (tinyfl/compiler/ops/conv2d.py:
   overlap). */
void TFL_CONV2D(const struct tfl_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch)
{
    const struct tfl_window *v = &op->window;
    int32_t *area = (int32_t *)(void *)scratch;
    int32_t left = v->out_h * v->out_w;
    int8_t *all = out;
    int8_t *window = scratch + 4u * op->lanes * op->row;
    /* Windows that are the input's pixels: beside Helium's products, put_pixel is worth avoiding. */
    int pointwise = TFL_HELIUM && v->kernel_h == 1 && v->kernel_w == 1 && v->stride_h == 1 && v->stride_w == 1;
    int32_t oy = 0, ox = 0, lanes;

    for (; left > 0; left -= lanes) {
        int8_t *to[TFL_LANES];

        lanes = left > 1 ? TFL_AT_ONCE(op->lanes, op->row) : 1;
        for (int32_t lane = 0; lane < lanes; lane++) {
            if (pointwise) {
                put_run(area + lane * TFL_LANE_WORDS, lanes, in + (oy * v->in_w + ox) * v->in_c, v->in_c);
            } else {
                put_pixel(op, in, oy, ox, area + lane * TFL_LANE_WORDS, lanes, window);
            }
            to[lane] = out;
            if (lane + 1 < left) {
                out += v->out_c;
                if (++ox == v->out_w) {
                    ox = 0;
                    oy++;
                }
            }
        }
        filters(op, area, to, lanes);
    }
    tfl_clamp_layer(&op->scaling, all, (uint32_t)v->out_h * v->out_w * v->out_c);
}
