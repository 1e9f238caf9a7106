/* Any body into each message decoder; arrays must lie in the body, and the fixed part must come out as it went in. */
#include <stdlib.h>
#include <string.h>

#include "tfl/tfl_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRY_MESSAGE(NAME, low)                                                       \
    {                                                                                \
        struct tfl_msg_##low m;                                                      \
        uint8_t again[TFL_##NAME##_BYTES + 1u];                                      \
        if (tfl_##low##_decode(&m, body, length) == 0 &&                             \
            (tfl_##low##_encode(&m, again) != TFL_##NAME##_BYTES ||                  \
             memcmp(again, body, TFL_##NAME##_BYTES) != 0)) {                        \
            abort();                                                                 \
        }                                                                            \
    }

static void touch(const uint8_t *first, uint32_t bytes)
{
    volatile uint8_t sum = 0;

    for (uint32_t i = 0; i < bytes; i++) {
        sum = (uint8_t)(sum + first[i]);
    }
}

static void arrays(const uint8_t *body, uint32_t length)
{
    struct tfl_msg_head head;
    struct tfl_msg_train train;
    struct tfl_msg_trained trained;
    struct tfl_msg_offer offer;
    struct tfl_msg_infer infer;
    struct tfl_msg_feed feed;

    if (tfl_head_decode(&head, body, length) == 0) {
        touch(head.weights, head.weights_count);
    }
    if (tfl_train_decode(&train, body, length) == 0) {
        touch(train.weights, train.weights_count);
    }
    if (tfl_trained_decode(&trained, body, length) == 0) {
        touch(trained.more, trained.more_count);
    }
    if (tfl_offer_decode(&offer, body, length) == 0) {
        touch(offer.weights, offer.weights_count);
    }
    if (tfl_infer_decode(&infer, body, length) == 0) {
        touch((const uint8_t *)infer.input, infer.input_count);
    }
    if (tfl_feed_decode(&feed, body, length) == 0) {
        touch((const uint8_t *)feed.input, feed.input_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t length = (uint32_t)size;
    uint8_t *body = malloc(size > 0u ? size : 1u); /* of exactly this size: a byte beyond is seen */

    if (body != NULL) {
        if (size > 0u) {
            memcpy(body, data, size);
        }
        TFL_EACH_MESSAGE(TRY_MESSAGE)
        arrays(body, length);
        free(body);
    }
    return 0;
}
