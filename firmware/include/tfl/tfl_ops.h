/* The operators' descriptors and kernels. The compiler folds all constants into the descriptors; activations are int8
   in height, width, channel order. Kernels trust their descriptors: tinyfl/compiler checked them. */
#ifndef TFL_OPS_H
#define TFL_OPS_H

#include <stdint.h>

/* From an int32 accumulator to an int8 output; multiplier Q31, shift -31..30, of channel c at [c * step]. */
struct tfl_scaling {
    const int32_t *multiplier;
    const int8_t *shift;
    uint8_t step; /* 1: one per channel, 0: one for all */
    int8_t zero_point;
    int8_t low; /* clamp: the int8 range or the fused activation's */
    int8_t high;
};

struct tfl_window {
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t kernel_h, kernel_w;
    uint8_t stride_h, stride_w;
    uint16_t top, left; /* padding */
};

/* weights [out_c][kernel_h][kernel_w][in_c] */
struct tfl_conv2d {
    struct tfl_window window;
    int8_t in_zero_point;
    const int8_t *weights;
    const int32_t *bias;        /* with the input's zero point folded in: for windows inside the input */
    const int32_t *border_bias; /* without: for windows that reach beyond; null where none does */
    struct tfl_scaling scaling;
};

/* weights [kernel_h][kernel_w][out_c]; out_c is a multiple of in_c */
struct tfl_depthwise_conv2d {
    struct tfl_window window;
    int8_t in_zero_point;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *border_bias;
    struct tfl_scaling scaling;
};

/* weights [outputs][inputs], bias with the input's zero point folded in */
struct tfl_dense {
    uint32_t inputs, outputs;
    const int8_t *weights;
    const int32_t *bias;
    struct tfl_scaling scaling;
};

struct tfl_pool {
    struct tfl_window window;
    int8_t low, high;
};

/* in [outer][count][inner] to out [outer][inner]; the multiplier holds the division by count */
struct tfl_mean {
    uint32_t outer, count, inner;
    int32_t multiplier;
    int8_t shift;
    int32_t offset; /* minus the input's zero point times count */
    int8_t out_zero_point;
};

struct tfl_add {
    uint32_t size;
    int16_t offset_a, offset_b; /* minus the zero points */
    int32_t multiplier_a, multiplier_b, multiplier_out;
    int8_t shift_a, shift_b, shift_out; /* <= 0 */
    int8_t out_zero_point, low, high;
};

/* exp[d] = e^(-beta * scale * d) in Q31 for a distance d to the row's maximum; 0 from `entries` on */
struct tfl_softmax {
    uint16_t rows, classes, entries;
    const int32_t *exp;
};

struct tfl_pad {
    uint16_t in_h, before_h, after_h;
    uint16_t in_w, before_w, after_w;
    uint16_t in_c, before_c, after_c;
    int8_t value;
};

struct tfl_quantize {
    uint32_t size;
    int32_t multiplier;
    int8_t shift, in_zero_point, out_zero_point;
};

void tfl_conv2d(const struct tfl_conv2d *op, const int8_t *in, int8_t *out);
void tfl_depthwise_conv2d(const struct tfl_depthwise_conv2d *op, const int8_t *in, int8_t *out);
void tfl_dense(const struct tfl_dense *op, const int8_t *in, int8_t *out);
void tfl_average_pool(const struct tfl_pool *op, const int8_t *in, int8_t *out);
void tfl_max_pool(const struct tfl_pool *op, const int8_t *in, int8_t *out);
void tfl_mean(const struct tfl_mean *op, const int8_t *in, int8_t *out);
void tfl_pad(const struct tfl_pad *op, const int8_t *in, int8_t *out);

/* These may run in place. */
void tfl_add(const struct tfl_add *op, const int8_t *a, const int8_t *b, int8_t *out);
void tfl_softmax(const struct tfl_softmax *op, const int8_t *in, int8_t *out);
void tfl_quantize(const struct tfl_quantize *op, const int8_t *in, int8_t *out);

#endif
