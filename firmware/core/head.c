/* The head's arithmetic, line by line as docs/DESIGN.md, "Training in integers", proves its ranges. */
#include "head.h"

#include "exp_table.h"
#include "fixed.h"
#include "head_block.h"

#define ONE 32767 /* Q15 */

/* The features that are not zero (after ReLU many are), the bias behind them; returns how many. */
static unsigned gather(const struct tfl_head *head, const int8_t *q)
{
    const struct tfl_head_format *format = head->format;
    uint32_t *x = tfl_gather(head->features, q, format->offset, format->features);

    *x++ = tfl_feature(format->features, format->bias_value);
    return (unsigned)(x - head->features);
}

/* Logits of all classes, unit 2^-fw. */
static void forward(const struct tfl_head *head, unsigned n)
{
    const uint32_t *x = head->features;
    const int32_t *block = head->tensor.master;
    int32_t *z = head->logits;
    unsigned classes = head->format->classes;

    for (; classes >= 4u; classes -= 4u) {
        tfl_forward_4(block, x, n, z);
        block += 4u * (head->format->features + 1u);
        z += 4;
    }
    if (classes == 3u) {
        tfl_forward_3(block, x, n, z);
    } else if (classes == 2u) {
        tfl_forward(block, 2, x, n, z);
    } else if (classes == 1u) {
        tfl_forward(block, 1, x, n, z);
    }
}

/* The same with the broadcast weights. */
static void forward_broadcast(const struct tfl_head *head, unsigned n)
{
    const struct tfl_head_format *format = head->format;

    for (unsigned c = 0; c < format->classes; c++) {
        unsigned first = c & ~3u;
        unsigned width = format->classes - first < 4u ? format->classes - first : 4u;
        const int16_t *column = head->tensor.broadcast + first * (format->features + 1u) + (c - first);
        int32_t sum = 0; /* |sum| <= 257 * 2^15 * 255 < 2^31 */

        for (const uint32_t *x = head->features, *end = x + n; x != end; x++) {
            sum += column[tfl_feature_row(*x) * width] * tfl_feature_value(*x);
        }
        head->logits[c] = sum;
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

/* From logits to what probabilities are multiples of, in place, Q15; returns what to multiply with, Q16. */
static uint32_t exponentials(const struct tfl_head *head, int32_t largest)
{
    int32_t *z = head->logits;
    unsigned shift = head->format->fw - 4u; /* 1..16 */
    uint32_t top = (uint32_t)largest + (1u << (shift - 1u));
    uint32_t sum = 0; /* 32767 <= sum <= 256 * 32767 */

    for (const int32_t *end = z + head->format->classes; z != end; z++) {
        uint32_t k = (top - (uint32_t)*z) >> shift; /* the distance is below 2^32 - 2^16: no wrap */
        uint32_t u = k < TFL_EXP_ENTRIES ? tfl_exp_table[k] : 0u;

        *z = (int32_t)u;
        sum += u;
    }
    return 0x7FFFFFFFu / sum; /* <= 65538 */
}

/* Q15, 0..32767: u * inverse < 2^31. */
static int32_t probability(int32_t u, uint32_t inverse)
{
    return (int32_t)((uint32_t)u * inverse >> 16);
}

/* What logits say of a sample; leaves the exponentials in their place, *inverse is what to multiply them with. */
static struct tfl_outcome judge(const struct tfl_head *head, unsigned label, uint32_t *inverse)
{
    struct tfl_outcome outcome;
    unsigned best = arg_max(head->logits, head->format->classes);

    *inverse = exponentials(head, head->logits[best]);
    outcome.right = best == label ? 1u : 0u;
    outcome.loss = (uint16_t)(ONE - probability(head->logits[label], *inverse));
    return outcome;
}

static void update(const struct tfl_head *head, unsigned n)
{
    const uint32_t *x = head->features;
    const int32_t *g = head->logits;
    int32_t *block = head->tensor.master;
    unsigned classes = head->format->classes;

    for (; classes >= 4u; classes -= 4u) {
        tfl_update_4(block, x, n, g);
        block += 4u * (head->format->features + 1u);
        g += 4;
    }
    if (classes == 3u) {
        tfl_update_3(block, x, n, g);
    } else if (classes == 2u) {
        tfl_update(block, 2, x, n, g);
    } else if (classes == 1u) {
        tfl_update(block, 1, x, n, g);
    }
}

/* After an update: weights that are held go back to where they started. */
static void hold(const struct tfl_head *head)
{
    const uint8_t *held = head->format->held;

    for (uint32_t first = 0; first < tfl_head_count(head->format); first += 8u) {
        uint32_t i = first;

        for (unsigned bits = *held++; bits != 0u; bits >>= 1) {
            if (bits & 1u) {
                head->tensor.master[i] = head->tensor.broadcast[i] * 65536; /* |.| < 2^30 */
            }
            i++;
        }
    }
}

static void descend(const struct tfl_head *head, unsigned n)
{
    update(head, n);
    if (head->format->held != 0) {
        hold(head);
    }
}

/* One loop over the classes less than the two halves, for the many boards without an adapter. */
struct tfl_outcome tfl_head_step(struct tfl_head *head, const int8_t *q, unsigned label, uint32_t rate,
                                 unsigned rate_shift)
{
    unsigned n = gather(head, q);
    int32_t half = (int32_t)(1u << (rate_shift - 1u)); /* <= 2^29 */
    int32_t *g = head->logits;
    struct tfl_outcome outcome;
    uint32_t inverse;

    forward(head, n);
    outcome = judge(head, label, &inverse);
    for (const int32_t *end = g + head->format->classes; g != end; g++) {
        *g = (probability(*g, inverse) * (int32_t)rate + half) >> rate_shift; /* |e * rate| < 2^30; |g| <= 131,068 */
    }
    head->logits[label] = (half - outcome.loss * (int32_t)rate) >> rate_shift; /* e = p - 1 = -loss */
    descend(head, n);
    return outcome;
}

struct tfl_outcome tfl_head_error(struct tfl_head *head, const int8_t *q, unsigned label, unsigned *active)
{
    int32_t *e = head->logits;
    struct tfl_outcome outcome;
    uint32_t inverse;

    *active = gather(head, q);
    forward(head, *active);
    outcome = judge(head, label, &inverse);
    for (const int32_t *end = e + head->format->classes; e != end; e++) {
        *e = probability(*e, inverse);
    }
    head->logits[label] -= ONE; /* Q15, |e| <= 32767 */
    return outcome;
}

void tfl_head_descend(struct tfl_head *head, unsigned active, uint32_t rate, unsigned rate_shift)
{
    int32_t half = (int32_t)(1u << (rate_shift - 1u)); /* <= 2^29 */
    int32_t *g = head->logits;

    for (const int32_t *end = g + head->format->classes; g != end; g++) {
        *g = (*g * (int32_t)rate + half) >> rate_shift; /* |e * rate| < 2^30; |g| <= 131,068 */
    }
    descend(head, active);
}

void tfl_head_clamp(const struct tfl_tensor *weights)
{
    tfl_clamp_weights(weights->master, weights->count);
}

/* floor((way * pull + dither) / 2^16) of 32-bit halves; it lies between 0 and way, so the clamp still holds behind it. */
uint32_t tfl_head_return(struct tfl_head *head, uint32_t pull, uint32_t random)
{
    uint32_t count = tfl_head_count(head->format);

    for (uint32_t i = 0; i < count; i++) {
        int32_t way = head->tensor.master[i] - head->tensor.broadcast[i] * 65536; /* |way| < 2^30 + 2^30 */
        uint32_t low = ((uint32_t)way & 0xFFFFu) * pull;            /* <= 65535 * 65535 */

        random = tfl_xorshift32(random);
        low += random & 0xFFFFu; /* <= 65535 * 65536 < 2^32; below, |way >> 16| <= 2^15: |product| < 2^31 */
        head->tensor.master[i] -= (way >> 16) * (int32_t)pull + (int32_t)(low >> 16);
    }
    return random;
}

struct tfl_outcome tfl_head_evaluate(struct tfl_head *head, const int8_t *q, unsigned label, int trained)
{
    unsigned n = gather(head, q);
    uint32_t inverse;

    if (trained) {
        forward(head, n);
    } else {
        forward_broadcast(head, n);
    }
    return judge(head, label, &inverse);
}

void tfl_head_reset(struct tfl_head *head)
{
    for (uint32_t i = tfl_head_count(head->format); i-- > 0u;) {
        head->tensor.broadcast[i] = head->format->initial[i];
    }
    tfl_tensor_start(&head->tensor);
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
