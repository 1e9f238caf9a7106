/* The inputs of a convolution's window as one run of bytes. */
#ifndef TFL_WINDOW_H
#define TFL_WINDOW_H

#include "kernel.h"
#include "runs.h"

#if TFL_HELIUM
#include "window_mve.h"
#else

static inline void tfl_fill_run(int8_t *to, int8_t value, uint32_t count)
{
    (void)tfl_fill(to, value, count);
}

static inline void tfl_copy_runs(int8_t *to, uint32_t to_step, const int8_t *from, uint32_t from_step, uint32_t count,
                                 uint32_t rows)
{
    for (; rows > 0; rows--) {
        (void)tfl_copy(to, from, count);
        to += to_step;
        from += from_step;
    }
}

#endif

/* Writes op->row bytes: the window whose tap 0 lies at y, x, with the zero point where it reaches beyond the input. */
static TFL_ALONE void tfl_copy_window(const struct tfl_conv2d *op, const int8_t *in, int32_t y, int32_t x, int8_t *to)
{
    const struct tfl_window *v = &op->window;
    struct tfl_span rows = tfl_span(y, v->kernel_h, v->in_h);
    struct tfl_span columns = tfl_span(x, v->kernel_w, v->in_w);
    uint32_t row = (uint32_t)v->kernel_w * v->in_c;
    uint32_t pitch = (uint32_t)v->in_w * v->in_c;
    uint32_t size = (uint32_t)(columns.last - columns.first) * v->in_c;

    if (size < row || rows.last - rows.first < v->kernel_h) {
        tfl_fill_run(to, op->in_zero_point, op->row);
    }
    in += ((y + rows.first) * v->in_w + x + columns.first) * v->in_c;
    to += (uint32_t)rows.first * row + (uint32_t)columns.first * v->in_c;
    if (rows.last > rows.first) {
        tfl_copy_runs(to, row, in, pitch, size, (uint32_t)(rows.last - rows.first));
    }
}

#endif
