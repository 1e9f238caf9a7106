/* The adapter's arithmetic, line by line as docs/DESIGN.md, "Adapter", proves its ranges. */
#include "adapter.h"

#include "fixed.h"

#define UNIT_SHIFT 13 /* broadcast weights: 2^-13 */
#define BACK_SHIFT 14
#define MAX_BACK 32767
#define MAX_STEP 131071 /* as the head's: 32 steps stay within int32 */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

uint32_t tfl_adapter_count(const struct tfl_head_format *format)
{
    uint32_t features = format->features, group, rest;

    if (!tfl_has_adapter(format)) {
        return 0;
    }
    group = format->adapter->group;
    rest = features % group;
    return (features - rest) * (group + 1u) + rest * (rest + 1u);
}

void tfl_adapter_reset(struct tfl_adapter *adapter)
{
    for (uint32_t i = adapter->tensor.count; i-- > 0u;) {
        adapter->tensor.broadcast[i] = 0;
        adapter->tensor.master[i] = 0;
    }
}

/* A feature and what is added to it, as the head's embedding has it. With |w| <= 2^15, |x| <= 255:
   |sum| <= 257 * 2^15 * 255 < 2^31 - 2^12; what is clamped is within 2^18 + 2^9. */
static int8_t adapted(int32_t x, int32_t sum, int32_t offset)
{
    return (int8_t)tfl_clamp(x + offset + ((sum + (1 << (UNIT_SHIFT - 1))) >> UNIT_SHIFT), INT8_MIN, INT8_MAX);
}

static int32_t sum_trained(const int32_t *m, const int16_t *x, unsigned n, int32_t bias)
{
    int32_t sum = (m[n] >> 16) * bias;

    for (const int16_t *end = x + n; x < end; x++) {
        sum += (*m++ >> 16) * *x;
    }
    return sum;
}

static int32_t sum_broadcast(const int16_t *w, const int16_t *x, unsigned n, int32_t bias)
{
    int32_t sum = w[n] * bias;

    for (const int16_t *end = x + n; x < end; x++) {
        sum += *w++ * *x;
    }
    return sum;
}

const int8_t *tfl_adapter_forward(struct tfl_adapter *adapter, const int8_t *q, int trained)
{
    const struct tfl_head_format *format = adapter->format;
    unsigned features = format->features;
    const int8_t *offset = format->adapter->offset;
    unsigned group = format->adapter->group;
    int32_t bias = format->bias_value;
    uint32_t at = 0;

    for (unsigned i = 0; i < features; i++) {
        adapter->x[i] = (int16_t)(q[i] - offset[i]); /* |x| <= 255 */
    }
    for (unsigned first = 0; first < features; first += group) {
        unsigned n = least(group, features - first);
        const int16_t *x = adapter->x + first;

        for (unsigned j = first; j < first + n; j++) {
            int32_t sum = trained ? sum_trained(adapter->tensor.master + at, x, n, bias)
                                  : sum_broadcast(adapter->tensor.broadcast + at, x, n, bias);

            adapter->embedding[j] = adapted(adapter->x[j], sum, format->offset[j]);
            at += n + 1u;
        }
    }
    return adapter->embedding;
}

/* The head's error as feature j has caused it, unit 2^-(fw + 15). A head's weight is within +-2^15 and the errors' magnitudes
   sum up to 65534 at most: |.| <= 2^15 * 65534 < 2^31 - 2^16. */
static int32_t back(const struct tfl_head *head, unsigned j)
{
    unsigned rows = head->format->features + 1u;
    unsigned left = head->format->classes;
    const int32_t *block = head->tensor.master;
    const int32_t *e = head->logits;
    int32_t sum = 0;

    while (left > 0u) {
        unsigned width = left < 4u ? left : 4u;
        const int32_t *m = block + j * width;

        for (const int32_t *end = m + width; m < end; m++) {
            sum += (*m >> 16) * *e++;
        }
        block += rows * width;
        left -= width;
    }
    return sum;
}

/* |back * rate| < 2^30, half <= 2^29 */
static int32_t gradient(int32_t sum, uint32_t rate, unsigned rate_shift)
{
    int32_t rounded = tfl_clamp((sum + (1 << (BACK_SHIFT - 1))) >> BACK_SHIFT, -MAX_BACK, MAX_BACK);

    return tfl_clamp((rounded * (int32_t)rate + (int32_t)(1u << (rate_shift - 1u))) >> rate_shift, -MAX_STEP, MAX_STEP);
}

/* |g x| < 2^25, |m| < 2^30 + 32 * 2^25 = 2^31 */
static void update(int32_t *m, const int16_t *x, unsigned n, int32_t bias, int32_t g)
{
    m[n] -= g * bias;
    for (const int16_t *end = x + n; x < end; x++) {
        *m++ -= g * *x;
    }
}

void tfl_adapter_step(struct tfl_adapter *adapter, const struct tfl_head *head, uint32_t rate, unsigned rate_shift)
{
    unsigned features = adapter->format->features, group = adapter->format->adapter->group;
    int32_t *m = adapter->tensor.master;

    for (unsigned first = 0; first < features; first += group) {
        unsigned n = least(group, features - first);

        for (unsigned j = first; j < first + n; j++) {
            int32_t g = adapter->embedding[j] > INT8_MIN ? gradient(back(head, j), rate, rate_shift) : 0;

            if (g != 0) {
                update(m, adapter->x + first, n, adapter->format->bias_value, g);
            }
            m += n + 1u;
        }
    }
}
