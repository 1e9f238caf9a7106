#include "keep.h"

#include <string.h>

#include "broadcast.h"
#include "codec.h"
#include "fixed.h"

#define TAKEN_BYTES 4u

/* A payload as it is written, byte after byte. */
struct payload {
    const struct tfl_node *node;
    struct tfl_walk walk; /* over what the new residual is made of */
    uint32_t word;        /* of a residual */
};

static uint32_t head_bytes(const struct tfl_node *node)
{
    return 2u * tfl_head_count(node->head.format);
}

static uint32_t residual_bytes(const struct tfl_node *node)
{
    return TAKEN_BYTES + 8u * tfl_head_count(node->head.format);
}

uint32_t tfl_keep_bytes(const struct tfl_node *node)
{
    return head_bytes(node) + (node->head.residual != 0 ? residual_bytes(node) : 0u);
}

static uint8_t head_byte(const struct tfl_node *node, uint32_t at)
{
    return (uint8_t)((uint32_t)node->head.broadcast[at / 2u] >> 8u * (at % 2u) & 0xFFu);
}

static uint32_t residual_word(struct payload *p, uint32_t i)
{
    uint32_t count = tfl_head_count(p->node->head.format);

    if (i == 0u) {
        return p->node->residual_round;
    }
    if (i <= count) {
        if (tfl_head_holds(p->node->head.format, i - 1u)) {
            return 0;
        }
        (void)tfl_walk_next(&p->walk);
        return (uint32_t)tfl_walk_rest(&p->walk);
    }
    return (uint32_t)p->node->head.residual[i - 1u - count];
}

static void give(void *context, uint32_t offset, uint8_t *data, uint32_t size)
{
    struct payload *p = context;
    uint32_t head = head_bytes(p->node);

    for (uint32_t i = 0; i < size; i++, offset++) {
        if (offset < head) {
            data[i] = head_byte(p->node, offset);
            continue;
        }
        if ((offset - head) % 4u == 0u) {
            p->word = residual_word(p, (offset - head) / 4u);
        }
        data[i] = (uint8_t)(p->word >> 8u * ((offset - head) % 4u) & 0xFFu);
    }
}

static uint32_t head_digest(const struct tfl_node *node)
{
    uint32_t crc = 0;

    for (uint32_t i = 0; i < head_bytes(node); i += 2u) {
        const uint8_t weight[2] = {head_byte(node, i), head_byte(node, i + 1u)};

        crc = tfl_crc32(crc, weight, sizeof weight);
    }
    return crc;
}

static void remember(struct tfl_node *node, uint32_t round, uint32_t digest)
{
    node->kept = 1;
    node->kept_round = round;
    node->kept_digest = digest;
}

/* 1: *kept describes a record of this model's head; 0: there is none; or TFL_ERROR_STORE. */
static int find(const struct tfl_node *node, struct tfl_kept *kept)
{
    int found = tfl_store_find(&node->store, kept);

    if (found <= 0 || kept->head_bytes != head_bytes(node) ||
        memcmp(kept->model, node->dataset.model->hash, sizeof kept->model) != 0) {
        return found < 0 ? found : 0;
    }
    return 1;
}

int tfl_keep_restore(struct tfl_node *node)
{
    uint8_t *weights = (uint8_t *)node->head.broadcast; /* read there: the body may hold an unfinished request */
    struct tfl_kept kept;
    uint32_t digest;
    int found = find(node, &kept);

    if (found <= 0) {
        return found;
    }
    found = tfl_store_read(&node->store, 0, weights, kept.head_bytes);
    if (found < 0) {
        return found;
    }
    digest = tfl_crc32(0, weights, kept.head_bytes);
    if (tfl_broadcast_load(&node->head, TFL_CODING_INT16, weights, kept.head_bytes) != 0) {
        tfl_head_reset(&node->head); /* no head that this firmware would have kept */
        return 0;
    }
    tfl_head_start(&node->head);
    node->round = kept.round;
    remember(node, kept.round, digest);
    return 0;
}

static int write(struct tfl_node *node, uint32_t round, uint32_t digest, struct payload *payload, uint32_t residuals)
{
    struct tfl_kept kept = {.round = round, .head_bytes = head_bytes(node), .residual_bytes = residuals};
    int status;

    memcpy(kept.model, node->dataset.model->hash, sizeof kept.model);
    status = tfl_store_write(&node->store, &kept, give, payload);
    if (status == 0) {
        remember(node, round, digest);
    }
    return status;
}

int tfl_keep_head(struct tfl_node *node, uint32_t round)
{
    struct payload payload = {.node = node};
    uint32_t digest;

    if (node->store.capacity == 0u) {
        return 0;
    }
    digest = head_digest(node);
    if (node->kept != 0u && node->kept_round == round && node->kept_digest == digest) {
        return 0;
    }
    return write(node, round, digest, &payload, 0);
}

int tfl_keep_update(struct tfl_node *node, const struct tfl_update *update)
{
    struct payload payload = {.node = node};

    if (update->feedback == 0u || node->store.capacity < tfl_keep_bytes(node)) {
        return tfl_keep_head(node, update->round);
    }
    tfl_walk_start(&payload.walk, &node->head, update);
    return write(node, update->round, head_digest(node), &payload, residual_bytes(node));
}

int tfl_keep_residual(struct tfl_node *node, uint32_t taken)
{
    uint32_t count = tfl_head_count(node->head.format), at = head_bytes(node);
    uint8_t *bytes = (uint8_t *)node->head.residual; /* each word is read where it will stand */
    uint8_t word[TAKEN_BYTES];
    struct tfl_kept kept;
    int found = find(node, &kept);

    if (found <= 0 || kept.residual_bytes != residual_bytes(node)) {
        return found < 0 ? found : 0;
    }
    found = tfl_store_read(&node->store, at, word, sizeof word);
    if (found < 0 || (kept.round != taken && tfl_load32_le(word) != taken)) {
        return found;
    }
    at += TAKEN_BYTES + (kept.round == taken ? 0u : 4u * count);
    found = tfl_store_read(&node->store, at, bytes, 4u * count);
    for (uint32_t i = 0; found == 0 && i < count; i++) {
        node->head.residual[i] = (int32_t)tfl_load32_le(bytes + 4u * i);
    }
    return found == 0 ? 1 : found;
}
