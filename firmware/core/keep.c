#include "keep.h"

#include <string.h>

#include "fixed.h"
#include "head.h"

static uint32_t head_bytes(const struct tfl_node *node)
{
    return 2u * tfl_head_count(node->head.format);
}

static void remember(struct tfl_node *node, uint32_t round, uint32_t digest)
{
    node->kept = 1;
    node->kept_round = round;
    node->kept_digest = digest;
}

int tfl_keep_restore(struct tfl_node *node)
{
    uint8_t *weights = (uint8_t *)node->head.broadcast; /* read there: the body may hold an unfinished request */
    struct tfl_kept kept;
    uint32_t digest;
    int found = tfl_store_find(&node->store, &kept);

    if (found <= 0 || kept.head_bytes != head_bytes(node) ||
        memcmp(kept.model, node->dataset.model->hash, sizeof kept.model) != 0) {
        return found < 0 ? found : 0;
    }
    found = tfl_store_read(&node->store, 0, weights, kept.head_bytes);
    if (found < 0) {
        return found;
    }
    digest = tfl_crc32(0, weights, kept.head_bytes);
    if (tfl_head_load(&node->head, weights) != 0) {
        tfl_head_reset(&node->head); /* no head that this firmware would have kept */
        return 0;
    }
    node->round = kept.round;
    remember(node, kept.round, digest);
    return 0;
}

int tfl_keep_head(struct tfl_node *node, uint32_t round, const uint8_t *weights)
{
    struct tfl_kept kept = {.round = round, .head_bytes = head_bytes(node)};
    uint32_t digest;
    int status;

    if (node->store.capacity == 0u) {
        return 0;
    }
    digest = tfl_crc32(0, weights, kept.head_bytes);
    if (node->kept != 0u && node->kept_round == round && node->kept_digest == digest) {
        return 0;
    }
    memcpy(kept.model, node->dataset.model->hash, sizeof kept.model);
    status = tfl_store_write(&node->store, &kept, weights, 0);
    if (status == 0) {
        remember(node, round, digest);
    }
    return status;
}

int tfl_keep_broadcast(struct tfl_node *node, uint32_t round)
{
    uint8_t *body = node->session.body;
    uint32_t count = tfl_head_count(node->head.format);

    if (node->store.capacity == 0u) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        tfl_store16_le(body + 2u * i, (uint16_t)node->head.broadcast[i]);
    }
    return tfl_keep_head(node, round, body);
}
