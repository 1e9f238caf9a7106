/* Inner loops that the kernels share. */
#ifndef TFL_KERNEL_H
#define TFL_KERNEL_H

#include "../fixed.h"
#include "tfl/tfl_ops.h"

/* The part of a window that lies inside the input: taps [first, last) of one dimension. */
struct tfl_span {
    int32_t first, last;
};

/* origin: where tap 0 lies, negative in the padding. */
static inline struct tfl_span tfl_span(int32_t origin, int32_t kernel, int32_t size)
{
    struct tfl_span span;

    span.first = tfl_max(0, -origin);
    span.last = tfl_min(kernel, size - origin);
    return span;
}

/* acc + sum of x * w; |x * w| <= 2^14, so 2^16 terms stay under 2^30. */
static inline int32_t tfl_dot(int32_t acc, const int8_t *x, const int8_t *w, uint32_t n)
{
    const int8_t *end = x + (n & ~3u);

    while (x != end) {
        acc += x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
        x += 4;
        w += 4;
    }
    for (n &= 3u; n > 0; n--) {
        acc += *x++ * *w++;
    }
    return acc;
}

/* acc + sum of (x - zero_point) * w; |x - zero_point| <= 255. */
static inline int32_t tfl_dot_centred(int32_t acc, const int8_t *x, const int8_t *w, uint32_t n, int32_t zero_point)
{
    for (; n > 0; n--) {
        acc += (*x++ - zero_point) * *w++;
    }
    return acc;
}

static inline int8_t tfl_scale(const struct tfl_scaling *s, int32_t acc, uint32_t channel)
{
    uint32_t i = channel * s->step;

    return (int8_t)tfl_clamp(tfl_requantize(acc, s->multiplier[i], s->shift[i]) + s->zero_point, s->low, s->high);
}

#endif
