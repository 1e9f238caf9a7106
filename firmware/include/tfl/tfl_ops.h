/* The operators' descriptors and kernels. The compiler folds all constants into the descriptors; activations are int8
   in height, width, channel order. Kernels trust their descriptors: tinyfl/compiler checked them. */
#ifndef TFL_OPS_H
#define TFL_OPS_H

#include <stdint.h>

#define TFL_WORDS __attribute__((aligned(4))) /* constants that kernels read in words */

/* From an int32 accumulator to an int8 output. */
enum tfl_scale_kind {
    TFL_SCALE_ANY,   /* any multiplier and shift: exact, but slow */
    TFL_SCALE_CLAMP, /* the accumulators are proved to stay under 2^29, and 1 <= shift <= 21 */
    TFL_SCALE_FULL,  /* this, and the clamp is int8's own range */
};

/* Whether the CPU has Helium's integer instructions. */
#if defined(__ARM_FEATURE_MVE)
#define TFL_MVE (__ARM_FEATURE_MVE & 1)
#else
#define TFL_MVE 0
#endif

/* Four words a channel: bias, with the input's zero point folded in; multiplier, Q31; offset; shift, to the right,
   -30..31. offset = 2^(shift - 1) + z 2^shift, z: the zero point. `high` is high 2^shift where the kind is
   TFL_SCALE_CLAMP, else 0: CPUs without SIMD clamp the value less high. An Armv6-M does not, but its multiplication
   takes 2^14 (firmware/core/fixed.h). Helium shifts vectors to the left only. */
#if defined(__ARM_ARCH_6M__)
#define TFL_CHANNEL(bias, multiplier, offset, shift, high) bias, multiplier, (offset) + (1 << 14), shift
#elif TFL_MVE
#define TFL_CHANNEL(bias, multiplier, offset, shift, high) bias, multiplier, offset, -(shift)
#elif defined(__ARM_FEATURE_DSP)
#define TFL_CHANNEL(bias, multiplier, offset, shift, high) bias, multiplier, offset, shift
#else
#define TFL_CHANNEL(bias, multiplier, offset, shift, high) bias, multiplier, (offset) - (high), shift
#endif

struct tfl_scaling {
    const int32_t *channels;
    uint8_t kind;
    int8_t zero_point;
    int8_t low, high; /* clamp: the int8 range or the fused activation's */
};

struct tfl_window {
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t kernel_h, kernel_w;
    uint8_t stride_h, stride_w;
    uint16_t top, left; /* padding */
};

/* weights [out_c][row]: row = kernel_h * kernel_w * in_c, and zeros up to a multiple of four */
struct tfl_conv2d {
    struct tfl_window window;
    int8_t in_zero_point; /* what padding holds */
    uint8_t lanes; /* words of scratch for each value of a row: 4, 2 or 1; with 1, one pixel at a time */
    uint32_t row;
    const int8_t *weights;
    struct tfl_scaling scaling;
};

/* Weights of tfl_wide_conv2d: where a CPU multiplies pairs of int16, the bytes of a and c, then of b and d as int16. */
#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_FEATURE_MVE)
#define TFL_SIGN(w) (-((w) < 0))
#define TFL_WIDE(a, b, c, d) a, TFL_SIGN(a), c, TFL_SIGN(c), b, TFL_SIGN(b), d, TFL_SIGN(d)
#else
#define TFL_WIDE(a, b, c, d) a, b, c, d
#endif

/* One of an image's two dimensions; steps: bytes from one value to the next. */
struct tfl_axis {
    uint16_t in, out, kernel, stride, before; /* before: padding */
    uint32_t in_step, out_step;
};

/* A channel's plane lies in scratch as int16, line by line, with the padding filled in. The longer dimension of the
   image runs along the lines. weights [channels * fan_out][lines.kernel][along.kernel] */
struct tfl_depthwise_conv2d {
    struct tfl_axis lines, along;
    uint16_t channels, fan_out;
    uint16_t band;  /* output lines of which the input is in scratch at a time */
    uint16_t pitch; /* values of a line there, even */
    int8_t in_zero_point;
    const int8_t *weights;
    struct tfl_scaling scaling;
};

/* The same operator pixel by pixel, as many channels out as in. weights [in_c / 4, rounded up][kernel_h * kernel_w][4],
   of channels 0, 2, 1, 3 (firmware/core/ops/groups.h) */
struct tfl_depthwise_pixels {
    struct tfl_window window;
    int8_t in_zero_point; /* what padding holds */
    const int16_t *weights;
    struct tfl_scaling scaling;
};

/* Weights of a dense layer: four outputs a, b, c, d times four inputs, in the order that the CPU's kernel likes; some
   or all as w + 128, without a sign (firmware/core/ops/rows.h). */
#define TFL_UNSIGNED(w) ((w) ^ -128)
#if TFL_MVE
#define TFL_BLOCK(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3)                                    \
    a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3
#elif defined(__ARM_FEATURE_DSP)
#define TFL_BLOCK(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3)                                    \
    TFL_UNSIGNED(a0), b0, TFL_UNSIGNED(a2), b2, TFL_UNSIGNED(c0), d0, TFL_UNSIGNED(c2), d2, TFL_UNSIGNED(a1), b1,    \
        TFL_UNSIGNED(a3), b3, TFL_UNSIGNED(c1), d1, TFL_UNSIGNED(c3), d3
#else
#define TFL_BLOCK(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3)                                    \
    TFL_UNSIGNED(a0), TFL_UNSIGNED(b0), TFL_UNSIGNED(c0), TFL_UNSIGNED(d0), TFL_UNSIGNED(a1), TFL_UNSIGNED(b1),      \
        TFL_UNSIGNED(c1), TFL_UNSIGNED(d1), TFL_UNSIGNED(a2), TFL_UNSIGNED(b2), TFL_UNSIGNED(c2), TFL_UNSIGNED(d2),  \
        TFL_UNSIGNED(a3), TFL_UNSIGNED(b3), TFL_UNSIGNED(c3), TFL_UNSIGNED(d3)
#endif

/* Outputs by four: weights [outputs / 4][row / 4] blocks of TFL_BLOCK; `rest`: the outputs that are left, [row] each.
   row = inputs, rounded up to a multiple of four; the weights behind the inputs are 0 */
struct tfl_dense {
    uint32_t row, outputs;
    const int8_t *weights, *rest;
    const int32_t *bias;       /* of each output */
    struct tfl_scaling scaling; /* of output c at channels[c * step]; the bias there is not used */
    uint8_t step;              /* 4, or 0: all share one */
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

/* The operand with the larger scale, `coarse`, and the other one, `fine`. Offsets hold their zero points: -z 2^20 and
   -z 2^21. Shifts, 1..31, are to the right, half = 2^(shift - 1): TFL_HALF of that, as the CPU's multiplication wants
   it (firmware/core/fixed.h). */
#if defined(__ARM_ARCH_6M__)
#define TFL_HALF(half) ((half) + (1 << 14))
#else
#define TFL_HALF(half) (half)
#endif

struct tfl_add {
    uint32_t size;
    int32_t coarse_offset;
    int32_t fine_offset, fine_multiplier, fine_half;
    int32_t multiplier, half;
    uint8_t fine_shift, shift;
    uint8_t swap; /* the fine operand comes first */
    int8_t zero_point, low, high;
};

/* exp[d] = e^(-beta * scale * d) in Q31 for a distance d to the row's maximum; 0 from `entries` on */
struct tfl_softmax {
    uint16_t rows, classes, entries;
    const int32_t *exp;
};

struct tfl_pad {
    uint32_t in_h, before_h, after_h;
    uint32_t in_w, before_w, after_w;
    uint32_t in_c, before_c, after_c;
    int8_t value;
};

/* table[(uint8_t)x] for an input x */
struct tfl_quantize {
    uint32_t size;
    const int8_t *table;
};

void tfl_conv2d(const struct tfl_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch);
void tfl_wide_conv2d(const struct tfl_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch);
void tfl_depthwise_conv2d(const struct tfl_depthwise_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch);
void tfl_depthwise_pixels(const struct tfl_depthwise_pixels *op, const int8_t *in, int8_t *out, int8_t *scratch);
void tfl_dense(const struct tfl_dense *op, const int8_t *in, int8_t *out);

/* The same layers with their zeros left out: `weights` holds the groups of firmware/core/ops/sparse.h, `row` counts the
   weights of an output, without any behind; `lanes`: 4 or 2; `bias` has zeros behind, up to a multiple
   of eight; there is no `rest`. */
void tfl_sparse_conv2d(const struct tfl_conv2d *op, const int8_t *in, int8_t *out, int8_t *scratch);
void tfl_sparse_dense(const struct tfl_dense *op, const int8_t *in, int8_t *out);
void tfl_sparse_dense_large(const struct tfl_dense *op, const int8_t *in, int8_t *out);

void tfl_average_pool(const struct tfl_pool *op, const int8_t *in, int8_t *out);
void tfl_max_pool(const struct tfl_pool *op, const int8_t *in, int8_t *out);
void tfl_mean(const struct tfl_mean *op, const int8_t *in, int8_t *out);
void tfl_pad(const struct tfl_pad *op, const int8_t *in, int8_t *out);

/* These may run in place. */
void tfl_add(const struct tfl_add *op, const int8_t *a, const int8_t *b, int8_t *out);
void tfl_softmax(const struct tfl_softmax *op, const int8_t *in, int8_t *out);
void tfl_quantize(const struct tfl_quantize *op, const int8_t *in, int8_t *out);

#endif
