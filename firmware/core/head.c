/* The head's arithmetic, line by line as docs/DESIGN.md, "Training in integers", proves its ranges. */
#include "head.h"

#include "exp_table.h"
#include "fixed.h"

#define MASTER_MIN (-0x40000000)
#define MASTER_MAX 0x3FFFFFFF
#define ONE 32767 /* Q15 */

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* The features that are not zero (after ReLU about half are), the bias behind them; returns how many. */
static unsigned gather(const struct tfl_head *head, const int8_t *q)
{
    const struct tfl_head_format *format = head->format;
    struct tfl_feature *x = head->features;

    for (unsigned i = 0; i < format->features; i++) {
        int32_t value = q[i] - format->offset[i]; /* |value| <= 255 */

        if (value != 0) {
            x->value = (int16_t)value;
            x->row = (uint16_t)i;
            x++;
        }
    }
    x->value = format->bias_value;
    x->row = format->features;
    return (unsigned)(x - head->features) + 1u;
}

/* Forward weight i of a block: |w| <= 2^15. */
INLINE int32_t weight(const void *block, int trained, uint32_t i)
{
    return trained ? ((const int32_t *)block)[i] >> 16 : ((const int16_t *)block)[i];
}

/* Logits of one block of classes. Inlined with a constant width: one loop for each, its sums in registers. */
INLINE void forward_block(const void *block, int trained, unsigned width, const struct tfl_feature *x, unsigned n,
                          int32_t *z)
{
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0; /* |sum| <= 257 * 2^15 * 255 < 2^31 */

    for (const struct tfl_feature *end = x + n; x < end; x++) {
        uint32_t row = x->row * width;
        int32_t value = x->value;

        sum0 += weight(block, trained, row) * value;
        sum1 += width > 1u ? weight(block, trained, row + 1u) * value : 0;
        sum2 += width > 2u ? weight(block, trained, row + 2u) * value : 0;
        sum3 += width > 3u ? weight(block, trained, row + 3u) * value : 0;
    }
    z[0] = sum0;
    if (width > 1u) {
        z[1] = sum1;
    }
    if (width > 2u) {
        z[2] = sum2;
    }
    if (width > 3u) {
        z[3] = sum3;
    }
}

INLINE void forward_width(const void *block, int trained, unsigned width, const struct tfl_feature *x, unsigned n,
                          int32_t *z)
{
    switch (width) {
    case 1:
        forward_block(block, trained, 1, x, n, z);
        break;
    case 2:
        forward_block(block, trained, 2, x, n, z);
        break;
    case 3:
        forward_block(block, trained, 3, x, n, z);
        break;
    default:
        forward_block(block, trained, 4, x, n, z);
        break;
    }
}

static unsigned block_width(const struct tfl_head_format *format, unsigned first)
{
    return format->classes - first < 4u ? format->classes - first : 4u;
}

static uint32_t block_start(const struct tfl_head_format *format, unsigned first)
{
    return first * ((uint32_t)format->features + 1u);
}

/* Logits of all classes, unit 2^-fw. */
static void forward(const struct tfl_head *head, int trained, unsigned n)
{
    const struct tfl_head_format *format = head->format;

    for (unsigned c = 0; c < format->classes; c += 4u) {
        uint32_t start = block_start(format, c);
        unsigned width = block_width(format, c);

        if (trained) {
            forward_width(head->master + start, 1, width, head->features, n, head->logits + c);
        } else {
            forward_width(head->broadcast + start, 0, width, head->features, n, head->logits + c);
        }
    }
}

/* The class of the first of the largest logits. */
static unsigned arg_max(const int32_t *z, unsigned classes)
{
    unsigned best = 0;

    for (unsigned c = 1; c < classes; c++) {
        best = z[c] > z[best] ? c : best;
    }
    return best;
}

/* From logits to probabilities in place, Q15, 0..32767; returns the largest logit's class. */
static unsigned softmax(const struct tfl_head *head)
{
    int32_t *z = head->logits;
    unsigned classes = head->format->classes;
    unsigned best = arg_max(z, classes);
    uint32_t top = (uint32_t)z[best];
    unsigned shift = head->format->fw - 4u; /* 1..16 */
    uint32_t half = 1u << (shift - 1u);
    uint32_t sum = 0; /* 32767 <= sum <= 256 * 32767 */
    uint32_t inverse;

    for (unsigned c = 0; c < classes; c++) {
        uint32_t k = (top - (uint32_t)z[c] + half) >> shift; /* the distance is below 2^32 - 2^16: no wrap */
        uint32_t u = k < TFL_EXP_ENTRIES ? tfl_exp_table[k] : 0u;

        z[c] = (int32_t)u;
        sum += u;
    }
    inverse = 0x7FFFFFFFu / sum; /* <= 65538 */
    for (unsigned c = 0; c < classes; c++) {
        z[c] = (int32_t)((uint32_t)z[c] * inverse >> 16); /* u * inverse < 2^31 */
    }
    return best;
}

/* Inlined with a constant width, as forward_block. |g * value| < 2^25, |m| < 2^30 + 32 * 2^25 = 2^31. */
INLINE void update_block(int32_t *block, unsigned width, const struct tfl_feature *x, unsigned n, const int32_t *g)
{
    int32_t g0 = g[0], g1 = width > 1u ? g[1] : 0, g2 = width > 2u ? g[2] : 0, g3 = width > 3u ? g[3] : 0;

    for (const struct tfl_feature *end = x + n; x < end; x++) {
        int32_t *m = block + x->row * width;
        int32_t value = x->value;

        m[0] -= g0 * value;
        if (width > 1u) {
            m[1] -= g1 * value;
        }
        if (width > 2u) {
            m[2] -= g2 * value;
        }
        if (width > 3u) {
            m[3] -= g3 * value;
        }
    }
}

static void update(const struct tfl_head *head, unsigned n)
{
    const struct tfl_head_format *format = head->format;

    for (unsigned c = 0; c < format->classes; c += 4u) {
        int32_t *block = head->master + block_start(format, c);

        switch (block_width(format, c)) {
        case 1:
            update_block(block, 1, head->features, n, head->logits + c);
            break;
        case 2:
            update_block(block, 2, head->features, n, head->logits + c);
            break;
        case 3:
            update_block(block, 3, head->features, n, head->logits + c);
            break;
        default:
            update_block(block, 4, head->features, n, head->logits + c);
            break;
        }
    }
}

/* Forward pass and softmax: the probabilities stay in the logits' place. */
static struct tfl_outcome outcome(const struct tfl_head *head, unsigned n, unsigned label, int trained)
{
    struct tfl_outcome result;

    forward(head, trained, n);
    result.right = softmax(head) == label ? 1u : 0u;
    result.loss = (uint16_t)(ONE - head->logits[label]);
    return result;
}

struct tfl_outcome tfl_head_step(struct tfl_head *head, const int8_t *q, unsigned label, uint32_t rate,
                                 unsigned rate_shift)
{
    unsigned n = gather(head, q);
    struct tfl_outcome result = outcome(head, n, label, 1);
    int32_t half = (int32_t)(1u << (rate_shift - 1u)); /* <= 2^29 */
    int32_t *g = head->logits;

    g[label] -= ONE; /* the error, Q15, |e| <= 32767 */
    for (unsigned c = 0; c < head->format->classes; c++) {
        g[c] = (g[c] * (int32_t)rate + half) >> rate_shift; /* |e * rate| < 2^30; |g| <= 131,068 */
    }
    update(head, n);
    return result;
}

void tfl_head_clamp(struct tfl_head *head)
{
    for (uint32_t i = tfl_head_count(head->format); i-- > 0u;) {
        head->master[i] = tfl_clamp(head->master[i], MASTER_MIN, MASTER_MAX);
    }
}

struct tfl_outcome tfl_head_evaluate(struct tfl_head *head, const int8_t *q, unsigned label, int trained)
{
    return outcome(head, gather(head, q), label, trained);
}

/* |broadcast * 2^16| < 2^30 */
static void start_master(struct tfl_head *head)
{
    for (uint32_t i = tfl_head_count(head->format); i-- > 0u;) {
        head->master[i] = head->broadcast[i] * 65536;
    }
}

void tfl_head_reset(struct tfl_head *head)
{
    for (uint32_t i = tfl_head_count(head->format); i-- > 0u;) {
        head->broadcast[i] = head->format->initial[i];
    }
    start_master(head);
}

static int16_t load_int16(const uint8_t *p)
{
    int32_t x = tfl_load16_le(p);

    return (int16_t)(x >= 0x8000 ? x - 0x10000 : x);
}

int tfl_head_load(struct tfl_head *head, const uint8_t *weights)
{
    uint32_t count = tfl_head_count(head->format);

    for (uint32_t i = 0; i < count; i++) {
        int32_t w = load_int16(weights + 2u * i);

        if (w < -TFL_HEAD_MAX_WEIGHT || w > TFL_HEAD_MAX_WEIGHT) {
            return TFL_ERROR_ARGUMENT;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        head->broadcast[i] = load_int16(weights + 2u * i);
    }
    start_master(head);
    return 0;
}

/* |delta| <= 2^31 - 2^16: the master is clamped. */
static int32_t delta(const struct tfl_head *head, uint32_t i)
{
    return head->master[i] - head->broadcast[i] * 65536;
}

uint32_t tfl_head_max_delta(const struct tfl_head *head)
{
    int32_t largest = 0;

    for (uint32_t i = tfl_head_count(head->format); i-- > 0u;) {
        int32_t d = delta(head, i);

        largest = tfl_max(largest, d < 0 ? -d : d);
    }
    return (uint32_t)largest;
}

void tfl_head_delta(const struct tfl_head *head, unsigned shift, uint32_t seed, uint8_t *deltas)
{
    uint32_t count = tfl_head_count(head->format);
    uint32_t mask = (1u << shift) - 1u; /* < 2^25 */

    for (uint32_t i = 0; i < count; i++) {
        int32_t d = delta(head, i);
        uint32_t low;

        seed = tfl_xorshift32(seed);
        low = ((uint32_t)d & mask) + (seed & mask); /* < 2^26 */
        d = tfl_clamp((d >> shift) + (int32_t)(low >> shift), -127, 127); /* |d >> shift| < 2^31, low >> shift <= 1 */
        deltas[i] = (uint8_t)(d & 0xFF);
    }
}

void tfl_head_pull(const struct tfl_head *head, uint8_t *weights)
{
    uint32_t count = tfl_head_count(head->format);

    for (uint32_t i = 0; i < count; i++) {
        int32_t w = (head->master[i] + 0x8000) >> 16; /* |master| <= 2^30 */

        tfl_store16_le(weights + 2u * i, (uint16_t)(tfl_clamp(w, -TFL_HEAD_MAX_WEIGHT, TFL_HEAD_MAX_WEIGHT) & 0xFFFF));
    }
}

static uint32_t greatest_common_divisor(uint32_t a, uint32_t b)
{
    while (b != 0u) {
        uint32_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

void tfl_order_start(struct tfl_order *order, uint32_t count, uint32_t random)
{
    order->count = count;
    order->at = random % count;
    order->step = 1u + tfl_xorshift32(random) % count;
    while (greatest_common_divisor(order->step, count) != 1u) {
        order->step = order->step % count + 1u;
    }
}
