/* A script of HEAD, OFFER, TRAIN, COLLECT and resets into a node with six samples, a store and, as the script says, an
   adapter, the messages half made up and half right: replies have room, weights stay in range, a refused request leaves them
   as they were, what was collected twice the same way is the same, and a private tensor is never collected. */
#include <stdlib.h>
#include <string.h>

#include "adapter.h"
#include "codec.h"
#include "dataset.h"
#include "fixed.h"
#include "head.h"
#include "keep.h"
#include "private.h"
#include "request.h"
#include "round.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N 3u
#define C 5u
#define COUNT ((N + 1u) * C)
#define GROUP 2u
#define ADAPTER 8u /* two features with two of a group and the bias, one alone with it */
#define WEIGHTS (COUNT + ADAPTER)
#define SAMPLES 6u
#define PAGE_BYTES 512u
#define PAGES 5u
#define BODY_BYTES (TFL_TRAIN_BYTES + 4u + 2u * WEIGHTS + 8u)
#define MESSAGE_BYTES 12u /* of the script, at least */

static const int8_t offset[N] = {-128, 0, 3};
static const int16_t initial[COUNT] = {5, -9, 16383, -16383};
static const uint8_t held[] = {0x40, 0x02, 0x00}; /* two of twenty */
static const uint8_t hash[TFL_MODEL_HASH_BYTES] = {1, 2, 3};
static const struct tfl_adapter_format adapter = {offset, GROUP};
static const struct tfl_head_format formats[] = {
    {N, C, 14, 16, offset, initial, held, 0},
    {N, C, 14, 16, offset, initial, held, &adapter},
};
static const struct tfl_model models[] = {
    {.hash = hash, .head = &formats[0], .input_bytes = 1, .output_bytes = 1},
    {.hash = hash, .head = &formats[1], .input_bytes = 1, .output_bytes = 1},
};

static struct {
    struct tfl_node node;
    struct tfl_port port;
    const struct tfl_model *model;
    int32_t master[WEIGHTS], residual[COUNT], logits[C];
    int16_t broadcast[WEIGHTS], x[N];
    int8_t adapted[N];
    uint32_t features[N + 1u];
    uint8_t slots[SAMPLES * (N + 1u)], valid[1], body[BODY_BYTES], last[BODY_BYTES];
    uint8_t flash[PAGES * PAGE_BYTES];
    uint32_t last_bytes;
    struct tfl_msg_collect asked;
} run;

static void rule(int holds)
{
    if (!holds) {
        abort();
    }
}

static int flash_read(void *context, uint32_t at, uint8_t *data, uint32_t size)
{
    (void)context;
    memcpy(data, run.flash + at, size);
    return 0;
}

static int flash_program(void *context, uint32_t at, const uint8_t *data, uint32_t size)
{
    (void)context;
    rule(at % 4u == 0u && size % 4u == 0u && at + size <= sizeof run.flash);
    for (uint32_t i = 0; i < size; i++) {
        run.flash[at + i] &= data[i];
    }
    return 0;
}

static int flash_erase(void *context, uint32_t page)
{
    (void)context;
    memset(run.flash + page * PAGE_BYTES, 0xFF, PAGE_BYTES);
    return 0;
}

static const struct tfl_flash flash = {flash_read, flash_program, flash_erase, PAGE_BYTES, PAGES};

/* As tfl_node_init, but for session and backbone: the embeddings are there. */
static void reset(void)
{
    struct tfl_node *node = &run.node;
    const struct tfl_head_format *format = run.model->head;
    struct tfl_tensor behind = {run.master + COUNT, run.broadcast + COUNT, 0, 0, tfl_adapter_count(format)};
    struct tfl_tensor before = {run.master, run.broadcast, format->adapter != 0 ? 0 : run.residual, held, COUNT};

    memset(node, 0, sizeof *node);
    rule(behind.count == (format->adapter != 0 ? ADAPTER : 0u));
    run.port.flash = &flash;
    run.last_bytes = 0;
    node->session.body = run.body;
    node->dataset.port = &run.port;
    node->dataset.model = run.model;
    node->dataset.valid = run.valid;
    node->dataset.slots = run.slots;
    node->dataset.slot_count = SAMPLES;
    node->dataset.samples[0] = SAMPLES;
    node->head.format = node->adapter.format = format;
    node->head.tensor = node->weights = before;
    node->adapter.tensor = behind;
    node->weights.count += behind.count;
    node->head.logits = run.logits;
    node->head.features = run.features;
    node->adapter.x = run.x;
    node->adapter.embedding = run.adapted;
    memset(run.residual, 0, sizeof run.residual);
    rule(tfl_store_mount(&node->store, &run.port, tfl_keep_least(node)) == 0);
    tfl_store_extend(&node->store, tfl_keep_bytes(node));
    rule(node->store.capacity == tfl_keep_bytes(node));
    rule(tfl_keep_restore(node) == 0);
}

/* What node.c does of an OFFER. */
static int measure(void)
{
    struct tfl_node *node = &run.node;
    struct tfl_example example;

    for (uint32_t i = 0; i < SAMPLES; i++) {
        rule(tfl_dataset_get(&node->dataset, 0, i, &example) == 0);
        if (run.model->head->adapter != 0) {
            example.embedding = tfl_adapter_forward(&node->adapter, example.embedding, 0);
        }
        node->job.loss += tfl_head_evaluate(&node->head, example.embedding, example.label, 0).loss;
    }
    return tfl_round_offered(node);
}

/* A request in a block of exactly its size. */
static int ask(int (*handle)(struct tfl_node *), const uint8_t *body, uint32_t size)
{
    uint8_t *content = malloc(size > 0u ? size : 1u);
    const struct tfl_node *node = &run.node;
    int16_t before[WEIGHTS];
    int result;

    if (content == NULL) {
        exit(1);
    }
    memcpy(before, run.broadcast, sizeof before);
    memcpy(content, body, size);
    run.node.session.content = content;
    run.node.session.length = size;
    result = handle(&run.node);
    while (result == TFL_LATER) {
        result = run.node.job.type == TFL_MESSAGE_OFFER ? measure() : tfl_round_poll(&run.node);
    }
    free(content);
    rule(result <= (int)BODY_BYTES);
    rule(result >= 0 || run.model->head->adapter != 0 || memcmp(before, run.broadcast, sizeof before) == 0 ||
         node->state == TFL_LOADED); /* private weights move on before the others come */
    rule(node->private_trained == 0u || node->shared == TFL_TENSOR_HEAD || node->shared == TFL_TENSOR_ADAPTER);
    for (uint32_t i = 0; i < WEIGHTS; i++) {
        rule(run.broadcast[i] >= -TFL_MAX_WEIGHT && run.broadcast[i] <= TFL_MAX_WEIGHT);
        rule(run.master[i] >= -0x40000000 && run.master[i] <= 0x3FFFFFFF);
    }
    return result;
}

/* Weights: of the script as they are, or few and small enough to be right; those of an adapter's model after which they are,
   and in a TRAIN the adapter's rate. */
static uint32_t put_weights(uint8_t *out, const uint8_t *data, uint32_t size, int right, unsigned tensors, int train)
{
    uint32_t count = COUNT, at = 0;

    if (run.model->head->adapter != 0 && (right || (data[0] & 1u) != 0u)) {
        out[0] = (uint8_t)tensors;
        tfl_store16_le(out + 1, train ? 0x4000u : 0u);
        out[3] = (uint8_t)(train ? 1u + data[0] % 30u : 0u);
        count = (tensors & 1u) * COUNT + (tensors >> 1 & 1u) * ADAPTER;
        at = 4;
    }
    if (!right) {
        memcpy(out + at, data, size);
        return at + size;
    }
    for (uint32_t i = 0; i < count; i++) {
        tfl_store16_le(out + at + 2u * i, (uint16_t)(data[i % size] << 4));
    }
    return at + 2u * count;
}

static void head(const uint8_t *data, uint32_t size)
{
    uint8_t body[BODY_BYTES];
    struct tfl_msg_head m = {.round = data[1], .keep = data[2] & 1u, .taken = data[3] & 7u, .coding = data[4] & 3u};
    uint32_t at = tfl_head_encode(&m, body);

    run.last_bytes = 0;
    (void)ask(tfl_round_head, body, at + put_weights(body + at, data + 5, size - 5u, m.coding == 0u, data[2] >> 1 & 3u, 0));
}

static void offer(const uint8_t *data, uint32_t size)
{
    uint8_t body[BODY_BYTES];
    struct tfl_msg_offer m = {.round = data[1] & 1u, .cluster = data[2], .taken = data[3] & 7u, .coding = data[4] & 3u};
    uint32_t at = tfl_offer_encode(&m, body);
    int result;

    run.last_bytes = 0;
    at += put_weights(body + at, data + 5, size - 5u, m.coding == 0u, TFL_TENSOR_ALL, 0);
    result = ask(tfl_round_offer, body, at);
    rule(result < 0 || run.node.state == TFL_OFFERED);
}

static void train(const uint8_t *data, uint32_t size)
{
    uint8_t body[BODY_BYTES];
    struct tfl_msg_train m = {.round = data[1] & 7u, .seed = data[2], .taken = data[3] & 7u, .epochs = 1, .rate = 0x4000};
    uint32_t at;

    m.shift = (uint8_t)(13u + data[4] % 18u);
    m.feedback = data[5] & 1u;
    m.coding = data[6] & 3u;
    m.pull = (uint16_t)(data[7] << 8 | data[7]);
    at = tfl_train_encode(&m, body);
    run.last_bytes = 0;
    if ((data[8] & 1u) == 0u) {
        at += put_weights(body + at, data + 9, size - 9u, m.coding == 0u, data[8] >> 1 & 3u, 1);
    }
    (void)ask(tfl_round_train, body, at);
}

static void collect(const uint8_t *data)
{
    struct tfl_msg_collect m = {.round = run.node.round, .shift = data[1] & 31u, .seed = 1u + data[2]};
    uint8_t body[TFL_COLLECT_BYTES];
    int result;

    m.tensor = data[1] >> 7;
    m.codec = data[3] & 0x3Fu;
    m.count = (m.codec & 0x18u) != 0u ? data[4] % (COUNT + 2u) : 0u;
    (void)tfl_collect_encode(&m, body);
    result = ask(tfl_round_collect, body, sizeof body);
    if (result < 0) {
        return;
    }
    rule((run.node.shared & 1u << m.tensor) != 0u);
    if (run.last_bytes > 0u && memcmp(&m, &run.asked, sizeof m) == 0) {
        rule((uint32_t)result == run.last_bytes && memcmp(run.body, run.last, run.last_bytes) == 0);
    }
    run.last_bytes = (uint32_t)result;
    memcpy(run.last, run.body, run.last_bytes);
    run.asked = m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&run, 0, sizeof run);
    memset(run.valid, 0xFF, sizeof run.valid);
    for (uint32_t i = 0; i < sizeof run.slots; i++) {
        run.slots[i] = (uint8_t)(i % (N + 1u) == N ? i % C : i * 37u);
    }
    run.model = &models[size > 0u ? data[0] >> 7 : 0u];
    reset();
    for (; size >= MESSAGE_BYTES; data += MESSAGE_BYTES, size -= MESSAGE_BYTES) {
        uint32_t some = (uint32_t)size < 2u * COUNT ? (uint32_t)size : 2u * COUNT;

        switch (data[0] % 8u) {
        case 0:
            reset();
            break;
        case 1:
            head(data, some);
            break;
        case 2:
            offer(data, some);
            break;
        case 3:
        case 4:
            train(data, some);
            break;
        default:
            collect(data);
        }
    }
    return 0;
}
