#include "kernel.h"

/* TFLite's integer reference: gemmlowp's fixed-point reciprocal; the exponentials come as a table. */

static int32_t double_saturated(int32_t x)
{
    return x > INT32_MAX / 2 ? INT32_MAX : x < -(INT32_MAX / 2) ? INT32_MIN : 2 * x;
}

static int32_t quadruple_saturated(int32_t x)
{
    return x > INT32_MAX / 4 ? INT32_MAX : x < -(INT32_MAX / 4) ? INT32_MIN : 4 * x;
}

/* 1 / (1 + a), Q0.31, for a in [0, 1), Q0.31: three Newton-Raphson steps in Q2.29. */
static int32_t reciprocal(int32_t a)
{
    int32_t half = (int32_t)(((uint32_t)a + 0x80000000u) >> 1); /* (1 + a) / 2, Q0.31, [2^30, 2^31) */
    int32_t x = 1515870810 + tfl_high_mul(half, -1010580540);   /* 48/17 - 32/17 * half, Q2.29 */

    for (int i = 0; i < 3; i++) {
        int32_t rest = (1 << 29) - tfl_high_mul(half, x); /* 1 - half * x, Q2.29 */

        x += quadruple_saturated(tfl_high_mul(x, rest)); /* the product is Q4.27 */
    }
    return double_saturated(x); /* x / 2 from Q2.29 to Q0.31 */
}

static int32_t row_max(const int8_t *in, uint32_t n)
{
    int32_t best = INT8_MIN;

    while (n-- > 0) {
        best = tfl_max(best, *in++);
    }
    return best;
}

static uint32_t leading_zeros(uint32_t x)
{
    uint32_t n = 0;

    for (; x < 0x80000000u; x <<= 1) {
        n++;
    }
    return n;
}

static void softmax_row(const struct tfl_softmax *op, const int8_t *in, int8_t *out)
{
    int32_t best = row_max(in, op->classes);
    uint32_t sum = 0; /* Q12.19, 2^19 <= sum < 2^28 */

    for (uint32_t c = 0; c < op->classes; c++) {
        uint32_t d = (uint32_t)(best - in[c]);

        sum += d < op->entries ? (uint32_t)tfl_rounding_shift(op->exp[d], 12) : 0u;
    }

    uint32_t zeros = leading_zeros(sum); /* 4..12 */
    int32_t scale = reciprocal((int32_t)((sum << zeros) - 0x80000000u));

    for (uint32_t c = 0; c < op->classes; c++) {
        uint32_t d = (uint32_t)(best - in[c]);
        int32_t y = d < op->entries ? tfl_rounding_shift(tfl_high_mul(op->exp[d], scale), 35u - zeros) : 0;

        out[c] = (int8_t)tfl_min(y - 128, INT8_MAX);
    }
}

void tfl_softmax(const struct tfl_softmax *op, const int8_t *in, int8_t *out)
{
    for (uint32_t r = 0; r < op->rows; r++) {
        softmax_row(op, in, out);
        in += op->classes;
        out += op->classes;
    }
}
