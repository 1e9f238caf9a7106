/* Any coded weights into tfl_broadcast_load, and any update that COLLECT may ask for of any weights: they stay in range and
   are untouched where coded ones are refused, payloads have room, and nothing of v is lost. */
#include <stdlib.h>
#include <string.h>

#include "broadcast.h"
#include "codec.h"
#include "fixed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 64u

struct input {
    const uint8_t *data;
    size_t size;
};

static uint32_t take(struct input *in)
{
    uint32_t word = 0;

    for (unsigned i = 0; i < 4u && in->size > 0u; i++, in->size--) {
        word |= (uint32_t)*in->data++ << 8u * i;
    }
    return word;
}

static void rule(int holds)
{
    if (!holds) {
        abort();
    }
}

/* The rest of the input, exactly as large as it is, as coded weights. */
static void load(const struct tfl_tensor *tensor, struct input *in, unsigned coding)
{
    uint32_t size = (uint32_t)in->size;
    int16_t before[MOST];
    uint8_t *coded = malloc(size > 0u ? size : 1u);

    if (coded == NULL) {
        return;
    }
    if (size > 0u) {
        memcpy(coded, in->data, size);
    }
    memcpy(before, tensor->broadcast, sizeof before);
    if (tfl_broadcast_load(tensor, coding, coded, size) != 0) {
        rule(memcmp(before, tensor->broadcast, sizeof before) == 0);
    }
    for (uint32_t i = 0; i < tensor->count; i++) {
        rule(tensor->broadcast[i] >= -TFL_MAX_WEIGHT && tensor->broadcast[i] <= TFL_MAX_WEIGHT);
    }
    free(coded);
}

static void collect(const struct tfl_tensor *tensor, const struct tfl_update *update)
{
    uint32_t count = tfl_tensor_free(tensor), sent = 0;
    uint32_t room = update->codec >> 5 != 0u ? count : count + (count + 7u) / 8u + 1u; /* coded: no more than plain */
    uint8_t *payload = malloc(room);
    struct tfl_walk walk;

    if (payload == NULL) {
        return;
    }
    rule(tfl_codec_encode(tensor, update, payload) <= room);
    tfl_walk_start(&walk, tensor, update);
    while (tfl_walk_next(&walk)) {
        sent += walk.sent ? 1u : 0u;
        rule(!tfl_tensor_holds(tensor, walk.at));
        rule((uint32_t)walk.value == ((uint32_t)walk.q << update->shift) + (uint32_t)tfl_walk_rest(&walk));
    }
    rule(walk.ahead == 0u && sent == (update->count > 0u ? update->count : count));
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int32_t master[MOST], residual[MOST];
    static int16_t broadcast[MOST];
    struct input in = {data, size};
    uint32_t word = take(&in), shape = take(&in);
    uint8_t held[MOST / 8u] = {0};
    struct tfl_tensor tensor = {master, broadcast, residual, held, (1u + shape % 15u) * (1u + shape / 16u % 4u)};
    struct tfl_update update = {.round = 1,
                                .seed = take(&in) | 1u,
                                .stream = take(&in) | 1u,
                                .count = (uint16_t)(word >> 16 & 0x7Fu),
                                .shift = (uint8_t)(word >> 8 & 0x1Fu),
                                .codec = (uint8_t)word,
                                .feedback = (uint8_t)(word >> 31)};

    for (uint32_t i = 0; i < MOST; i++) {
        master[i] = tfl_clamp((int32_t)take(&in), -0x40000000, 0x3FFFFFFF);
        broadcast[i] = (int16_t)((int32_t)(i * 511u) - TFL_MAX_WEIGHT);
        residual[i] = (int32_t)(take(&in) & 0x7FFFFFFFu) * (i % 2u == 0u ? 1 : -1);
    }
    for (uint32_t i = shape >> 16; i != 0u && i < tensor.count - 1u; i += shape >> 16) {
        held[i / 8u] |= (uint8_t)(1u << i % 8u); /* every n-th, never the last one */
        master[i] = broadcast[i] * 65536;
        residual[i] = 0;
    }
    if (tfl_codec_check(&update, tfl_tensor_free(&tensor)) == 0) {
        collect(&tensor, &update);
    }
    load(&tensor, &in, shape >> 8 & 3u);
    return 0;
}
