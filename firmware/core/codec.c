/* Nothing is sorted and nothing is stored: each pass over the weights makes the same choices again. */
#include "codec.h"

#include "codec_entropy.h"
#include "fixed.h"

#define MAX_VALUE 0x7FFFFFFF /* |v|, where d + r saturates */
#define GAP_PARAMETERS 15u   /* of Rice coding, 0.. */
#define PLAIN 15u /* in the header byte: of values; of positions, a bitmap instead of a parameter */

static const uint8_t limits[] = {127, 7, 1, 1};      /* of |q| */
static const uint8_t widths[] = {8, 4, 2, 1};        /* bits of q where it is plain */
static const uint8_t max_shifts[] = {25, 29, 31, 31}; /* limit * 2^shift >= 2^31 */

static unsigned level(const struct tfl_update *update)
{
    return update->codec & 7u;
}

static unsigned selection(const struct tfl_update *update)
{
    return update->codec >> 3 & 3u;
}

static unsigned entropy(const struct tfl_update *update)
{
    return update->codec >> 5;
}

int tfl_codec_check(const struct tfl_update *update, uint32_t weights)
{
    if (level(update) > TFL_LEVEL_SIGN || selection(update) > TFL_SELECT_RANDOM || entropy(update) > 1u ||
        update->shift > max_shifts[level(update)]) {
        return TFL_ERROR_ARGUMENT;
    }
    if (selection(update) == TFL_SELECT_ALL) {
        return update->count == 0u ? 0 : TFL_ERROR_ARGUMENT;
    }
    return update->count >= 1u && update->count <= weights ? 0 : TFL_ERROR_ARGUMENT;
}

/* v of weight i, 0 of one that is held. |d| <= 2^31 - 2^16: the master is clamped. */
static int32_t value(const struct tfl_tensor *tensor, unsigned feedback, uint32_t i)
{
    int32_t d = tensor->master[i] - tensor->broadcast[i] * 65536;
    int32_t r = feedback != 0u ? tensor->residual[i] : 0;

    if (r > 0 && d > MAX_VALUE - r) {
        return MAX_VALUE;
    }
    if (r < 0 && d < -MAX_VALUE - r) {
        return -MAX_VALUE;
    }
    return d + r;
}

static uint32_t magnitude(int32_t v)
{
    return v < 0 ? (uint32_t)-v : (uint32_t)v;
}

void tfl_codec_measure(const struct tfl_tensor *tensor, unsigned feedback, uint32_t *largest, uint32_t *mean)
{
    uint32_t count = tfl_tensor_free(tensor);
    uint32_t rest = 0; /* < count; the sum of all |v| is mean * count + rest */

    *largest = 0;
    *mean = 0;
    for (uint32_t i = 0; i < tensor->count; i++) {
        uint32_t m = magnitude(value(tensor, feedback, i));

        *largest = m > *largest ? m : *largest;
        *mean += m / count; /* <= 2^31 in all */
        rest += m % count;
        *mean += rest >= count ? 1u : 0u;
        rest -= rest >= count ? count : 0u;
    }
}

/* How many |v| are at least so large, least > 0. */
static uint32_t count_from(const struct tfl_tensor *tensor, unsigned feedback, uint32_t least)
{
    uint32_t found = 0;

    for (uint32_t i = tensor->count; i-- > 0u;) {
        found += magnitude(value(tensor, feedback, i)) >= least ? 1u : 0u;
    }
    return found;
}

/* The k-th largest |v|, bit by bit. */
static void find_threshold(struct tfl_walk *w)
{
    unsigned feedback = w->update->feedback;

    w->threshold = 0;
    for (uint32_t bit = 1u << 30; bit != 0u; bit >>= 1) {
        if (count_from(w->tensor, feedback, w->threshold | bit) >= w->left) {
            w->threshold |= bit;
        }
    }
    w->equals = w->left - count_from(w->tensor, feedback, w->threshold + 1u);
}

void tfl_walk_start(struct tfl_walk *walk, const struct tfl_tensor *tensor, const struct tfl_update *update)
{
    walk->tensor = tensor;
    walk->update = update;
    walk->next = 0;
    walk->ahead = tfl_tensor_free(tensor);
    walk->left = update->count;
    walk->dither = update->seed;
    walk->random = update->stream;
    if (selection(update) == TFL_SELECT_TOP) {
        find_threshold(walk);
    }
}

/* Selection sampling (Knuth, The Art of Computer Programming, vol. 2, 3.4.2, algorithm S): of the weights from this one
   on, so many are still to be sent. */
static int draw(struct tfl_walk *w)
{
    w->random = tfl_xorshift32(w->random);
    return w->random % w->ahead < w->left;
}

static int choose(struct tfl_walk *w)
{
    uint32_t m = magnitude(w->value);
    int sent;

    if (selection(w->update) == TFL_SELECT_ALL) {
        return 1;
    }
    if (selection(w->update) == TFL_SELECT_RANDOM) {
        sent = draw(w);
    } else {
        sent = m > w->threshold || (m == w->threshold && w->equals > 0u);
        w->equals -= m == w->threshold && w->equals > 0u ? 1u : 0u;
    }
    w->left -= sent ? 1u : 0u;
    return sent;
}

/* Nearest with feedback, which takes up the error; without it stochastic: floor((v + dither) / 2^shift). */
static int32_t quantise(const struct tfl_walk *w)
{
    unsigned shift = w->update->shift;
    int32_t v = w->value, limit = limits[level(w->update)];
    uint32_t mask = (1u << shift) - 1u; /* < 2^31 */

    if (level(w->update) == TFL_LEVEL_SIGN) {
        return v >= 0 ? 1 : -1;
    }
    if (w->update->feedback == 0u) {
        uint32_t low = ((uint32_t)v & mask) + (w->dither & mask); /* < 2^32 */

        return tfl_clamp((v >> shift) + (int32_t)(low >> shift), -limit, limit); /* low >> shift <= 1, 0 for shift 0 */
    }
    if (shift > 0u) {
        v = (v >> shift) + (v >> (shift - 1u) & 1); /* |v >> shift| <= 2^30 */
    }
    return tfl_clamp(v, -limit, limit);
}

int tfl_walk_next(struct tfl_walk *walk)
{
    if (walk->ahead == 0u) {
        return 0;
    }
    while (tfl_tensor_holds(walk->tensor, walk->next)) {
        walk->next++;
    }
    walk->at = walk->next++;
    walk->value = value(walk->tensor, walk->update->feedback, walk->at);
    walk->dither = tfl_xorshift32(walk->dither);
    walk->sent = choose(walk);
    walk->q = walk->sent ? quantise(walk) : 0;
    walk->ahead--;
    return 1;
}

struct writer {
    uint8_t *out;
    uint32_t bits;
};

/* The lowest bit first. */
static void put(struct writer *b, uint32_t bits, unsigned width)
{
    for (unsigned i = 0; i < width; i++, b->bits++) {
        uint8_t *byte = b->out + b->bits / 8u;

        *byte = (uint8_t)(b->bits % 8u == 0u ? 0u : *byte);
        *byte = (uint8_t)(*byte | (bits >> i & 1u) << b->bits % 8u);
    }
}

static void put_rice(struct writer *b, uint32_t symbol, unsigned parameter)
{
    for (uint32_t run = symbol >> parameter; run > 0u; run--) {
        put(b, 1, 1);
    }
    put(b, 0, 1);
    put(b, symbol, parameter);
}

/* The first of the cheapest Rice parameters of the gaps, or PLAIN where a bitmap is as cheap. */
static unsigned cheapest(const struct tfl_tensor *tensor, const struct tfl_update *update)
{
    uint32_t costs[GAP_PARAMETERS] = {0}, gap = 0; /* 2^16 gaps that add up to < 2^17: < 2^32 */
    unsigned best = 0;
    struct tfl_walk w;

    tfl_walk_start(&w, tensor, update);
    while (tfl_walk_next(&w)) {
        for (unsigned p = 0; w.sent && p < GAP_PARAMETERS; p++) {
            costs[p] += (gap >> p) + 1u + p;
        }
        gap = w.sent ? 0u : gap + 1u;
    }
    for (unsigned p = 1; p < GAP_PARAMETERS; p++) {
        best = costs[p] < costs[best] ? p : best;
    }
    return tfl_tensor_free(tensor) <= costs[best] ? PLAIN : best;
}

static void put_positions(struct writer *b, const struct tfl_tensor *tensor, const struct tfl_update *update,
                          unsigned parameter)
{
    uint32_t gap = 0;
    struct tfl_walk w;

    tfl_walk_start(&w, tensor, update);
    while (tfl_walk_next(&w)) {
        if (parameter == PLAIN) {
            put(b, w.sent ? 1u : 0u, 1);
        } else if (w.sent) {
            put_rice(b, gap, parameter);
        }
        gap = w.sent ? 0u : gap + 1u;
    }
}

/* Whether there is a value of each weight, 0 where nothing is sent: so entropy coding says which are the largest. */
static int all_values(const struct tfl_update *update)
{
    return entropy(update) && selection(update) == TFL_SELECT_TOP;
}

/* Bits of a value that is plain. A sign has one; where it may be 0 as well, and so with all entropy coding, two. */
static unsigned width_of(const struct tfl_update *update)
{
    return widths[level(update)] + (level(update) == TFL_LEVEL_SIGN ? entropy(update) : 0u);
}

static void put_values(struct writer *b, const struct tfl_tensor *tensor, const struct tfl_update *update)
{
    unsigned width = width_of(update);
    struct tfl_walk w;

    tfl_walk_start(&w, tensor, update);
    while (tfl_walk_next(&w)) {
        if (w.sent || all_values(update)) {
            put(b, width == 1u ? (w.q < 0 ? 1u : 0u) : (uint32_t)w.q, width);
        }
    }
}

/* The bytes that the values take in entropy coding; where they are more than the room, what is there is of no use. */
static uint32_t code_values(const struct tfl_tensor *tensor, const struct tfl_update *update, uint8_t *out, uint32_t room)
{
    int all = all_values(update);
    struct tfl_entropy coder;
    struct tfl_walk w;

    tfl_entropy_start(&coder, out, room, all ? update->count : 1u, all ? tfl_tensor_free(tensor) : 1u);
    tfl_walk_start(&w, tensor, update);
    while (tfl_walk_next(&w)) {
        if (w.sent || all) {
            tfl_entropy_put(&coder, w.q, limits[level(update)]);
        }
    }
    return tfl_entropy_end(&coder);
}

uint32_t tfl_codec_encode(const struct tfl_tensor *tensor, const struct tfl_update *update, uint8_t *out)
{
    struct writer b = {out, 0};

    if (entropy(update)) {
        uint32_t values = all_values(update) || update->count == 0u ? tfl_tensor_free(tensor) : update->count;
        uint32_t plain = (values * width_of(update) + 7u) / 8u, coded = code_values(tensor, update, out, plain - 1u);

        if (coded < plain) {
            return coded; /* it is shorter, by which the reader knows it */
        }
    } else if (selection(update) == TFL_SELECT_TOP) {
        unsigned positions = cheapest(tensor, update);

        put(&b, PLAIN | positions << 4, 8);
        put_positions(&b, tensor, update, positions);
    }
    put_values(&b, tensor, update);
    return (b.bits + 7u) / 8u;
}
