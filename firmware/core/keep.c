#include "keep.h"

#include <string.h>

#include "adapter.h"
#include "broadcast.h"
#include "codec.h"
#include "fixed.h"
#include "head.h"
#include "private.h"

#define TAKEN_BYTES 4u
#define PRIVATE_BYTES 8u /* the round and the tensors, before private weights */

/* A payload as it is written, byte after byte. */
struct payload {
    const struct tfl_node *node;
    const struct tfl_tensor *own; /* what is private; null: nothing */
    struct tfl_walk walk;         /* over what the new residual is made of */
    uint32_t word;                /* of what stands behind the broadcast weights */
};

uint32_t tfl_keep_least(const struct tfl_node *node)
{
    return 2u * node->weights.count;
}

static uint32_t residual_bytes(const struct tfl_node *node)
{
    return TAKEN_BYTES + 8u * node->head.tensor.count;
}

static const struct tfl_tensor *private_weights(const struct tfl_node *node)
{
    return tfl_weights_of(node, TFL_TENSOR_ALL ^ node->shared);
}

static uint32_t private_bytes(const struct tfl_node *node)
{
    return PRIVATE_BYTES + (node->private_trained != 0u ? 2u * private_weights(node)->count : 0u);
}

uint32_t tfl_keep_bytes(const struct tfl_node *node)
{
    uint32_t head = node->head.tensor.count, adapter = node->adapter.tensor.count, more = 0;

    if (adapter > 0u) {
        more = PRIVATE_BYTES + 2u * (head > adapter ? head : adapter);
    } else if (node->head.tensor.residual != 0) {
        more = residual_bytes(node);
    }
    return tfl_keep_least(node) + more;
}

static uint8_t weight_byte(const struct tfl_node *node, uint32_t at)
{
    return (uint8_t)((uint32_t)node->weights.broadcast[at / 2u] >> 8u * (at % 2u) & 0xFFu);
}

static uint32_t private_word(const struct payload *p, uint32_t i)
{
    uint32_t first = 2u * (i - PRIVATE_BYTES / 4u), word;

    if (i < PRIVATE_BYTES / 4u) {
        return i == 0u ? p->node->private_round : p->node->shared;
    }
    word = (uint32_t)tfl_tensor_rounded(p->own, first) & 0xFFFFu;
    return first + 1u < p->own->count ? word | (uint32_t)tfl_tensor_rounded(p->own, first + 1u) << 16 : word;
}

static uint32_t residual_word(struct payload *p, uint32_t i)
{
    const struct tfl_tensor *head = &p->node->head.tensor;

    if (i == 0u) {
        return p->node->residual_round;
    }
    if (i <= head->count) {
        if (tfl_tensor_holds(head, i - 1u)) {
            return 0;
        }
        (void)tfl_walk_next(&p->walk);
        return (uint32_t)tfl_walk_rest(&p->walk);
    }
    return (uint32_t)head->residual[i - 1u - head->count];
}

static void give(void *context, uint32_t offset, uint8_t *data, uint32_t size)
{
    struct payload *p = context;
    uint32_t least = tfl_keep_least(p->node);

    for (uint32_t i = 0; i < size; i++, offset++) {
        uint32_t at = offset - least;

        if (offset < least) {
            data[i] = weight_byte(p->node, offset);
            continue;
        }
        if (at % 4u == 0u) {
            p->word = tfl_has_adapter(p->node->head.format) ? private_word(p, at / 4u) : residual_word(p, at / 4u);
        }
        data[i] = (uint8_t)(p->word >> 8u * (at % 4u) & 0xFFu);
    }
}

/* Of what is the server's: nothing of a private weight leaves the board. */
static uint32_t digest_of(const struct tfl_node *node)
{
    const struct tfl_tensor *weights = tfl_weights_of(node, node->shared);
    uint32_t crc = 0;

    for (uint32_t i = 0; i < weights->count; i++) {
        uint8_t bytes[2];

        tfl_store16_le(bytes, (uint16_t)(weights->broadcast[i] & 0xFFFF));
        crc = tfl_crc32(crc, bytes, sizeof bytes);
    }
    return crc;
}

static void remember(struct tfl_node *node, uint32_t round, uint32_t digest)
{
    node->kept = 1;
    node->kept_round = round;
    node->kept_digest = digest;
}

/* 1: *kept describes a record of this model's weights; 0: there is none; or TFL_ERROR_STORE. */
static int find(const struct tfl_node *node, struct tfl_kept *kept)
{
    int found = tfl_store_find(&node->store, kept);

    if (found <= 0 || kept->head_bytes != tfl_keep_least(node) ||
        memcmp(kept->model, node->dataset.model->hash, sizeof kept->model) != 0) {
        return found < 0 ? found : 0;
    }
    return 1;
}

/* Broadcast weights from a record, read where they will stand: the body may hold an unfinished request. 1; 0: this firmware
   would not have kept them; or TFL_ERROR_STORE. */
static int take(const struct tfl_node *node, uint32_t at, const struct tfl_tensor *weights)
{
    uint8_t *bytes = (uint8_t *)weights->broadcast;
    int status = tfl_store_read(&node->store, at, bytes, 2u * weights->count);

    if (status < 0) {
        return status;
    }
    return tfl_broadcast_load(weights, TFL_CODING_INT16, bytes, 2u * weights->count) == 0 ? 1 : 0;
}

/* The same of the private ones of a record: what they were trained to, before what they were. */
static int take_private(struct tfl_node *node, const struct tfl_kept *kept)
{
    uint8_t bytes[PRIVATE_BYTES];
    int status = tfl_store_read(&node->store, kept->head_bytes, bytes, sizeof bytes);

    if (status < 0 || (bytes[4] != TFL_TENSOR_HEAD && bytes[4] != TFL_TENSOR_ADAPTER)) {
        return status;
    }
    node->private_round = tfl_load32_le(bytes);
    node->shared = bytes[4];
    if (kept->residual_bytes == PRIVATE_BYTES) {
        return 1;
    }
    status = take(node, kept->head_bytes + PRIVATE_BYTES, private_weights(node));
    tfl_tensor_start(private_weights(node));
    node->private_trained = kept->round;
    return status;
}

int tfl_keep_restore(struct tfl_node *node)
{
    struct tfl_kept kept;
    int found = find(node, &kept);

    tfl_private_share(node, TFL_TENSOR_ALL);
    if (found == 1 && tfl_has_adapter(node->head.format) && kept.residual_bytes >= PRIVATE_BYTES) {
        found = take_private(node, &kept);
    }
    if (found == 1) {
        found = take(node, 0, &node->weights);
    }
    if (found != 1) {
        tfl_private_share(node, TFL_TENSOR_ALL);
        tfl_head_reset(&node->head);
        if (tfl_has_adapter(node->head.format)) {
            tfl_adapter_reset(&node->adapter);
        }
        return found;
    }
    tfl_tensor_start(tfl_weights_of(node, node->private_trained != 0u ? node->shared : TFL_TENSOR_ALL));
    node->round = kept.round;
    remember(node, kept.round, digest_of(node));
    return 0;
}

static int write(struct tfl_node *node, uint32_t round, uint32_t digest, struct payload *payload, uint32_t more)
{
    struct tfl_kept kept = {.round = round, .head_bytes = tfl_keep_least(node), .residual_bytes = more};
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
    uint32_t digest, more;

    if (node->store.capacity == 0u) {
        return 0;
    }
    digest = digest_of(node);
    if (tfl_has_adapter(node->head.format) && node->shared != TFL_TENSOR_ALL) {
        payload.own = private_weights(node);
        more = private_bytes(node);
        return node->store.capacity < tfl_keep_bytes(node) ? 0 : write(node, round, digest, &payload, more);
    }
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
    tfl_walk_start(&payload.walk, &node->head.tensor, update);
    return write(node, update->round, digest_of(node), &payload, residual_bytes(node));
}

int tfl_keep_residual(struct tfl_node *node, uint32_t taken)
{
    uint32_t count = node->head.tensor.count, at = tfl_keep_least(node);
    uint8_t *bytes = (uint8_t *)node->head.tensor.residual; /* each word is read where it will stand */
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
        node->head.tensor.residual[i] = (int32_t)tfl_load32_le(bytes + 4u * i);
    }
    return found == 0 ? 1 : found;
}
