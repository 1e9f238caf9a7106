/* The boards of sim.h: their memory, their samples, and one request at a time. */
#include <string.h>
#include <time.h>

#include "model.h"
#include "session.h"
#include "sim.h"
#include "tfl/tfl.h"
#include "tfl/tfl_image.h"
#include "tfl/tfl_node.h"

#if TFL_MODEL_HEAD_COUNT == 0u
#error "a board that learns needs a model with a head"
#endif

/* What a board only needs while it answers. */
struct workspace {
    int32_t arena[(TFL_MODEL_ARENA_BYTES + 3u) / 4u]; /* int32_t: kernels may read it in words */
    int32_t logits[TFL_MODEL_CLASSES];
    uint32_t features[TFL_MODEL_FEATURES + 1u];
#if TFL_MODEL_ADAPTER_COUNT > 0u
    int16_t adapter_features[TFL_MODEL_FEATURES];
    int8_t adapted[TFL_MODEL_FEATURES];
#endif
    uint8_t body[TFL_MODEL_BODY_BYTES];
};

/* What it keeps. */
struct board {
    struct tfl_port port;
    struct tfl_image image;
    struct tfl_node node;
    int32_t master[TFL_MODEL_WEIGHTS];
    int16_t broadcast[TFL_MODEL_WEIGHTS];
#if TFL_MODEL_ADAPTER_COUNT == 0u && TFL_FEEDBACK
    int32_t residual[TFL_MODEL_WEIGHTS];
#endif
};

static int no_bytes(void *context, uint8_t *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
    return 0;
}

static int no_line(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    (void)data;
    return (int)size;
}

static int sample(void *context, unsigned split, uint32_t index, int8_t *x, uint8_t *label)
{
    const struct board *board = context;

    return tfl_image_sample(&board->image, split, index, x, label);
}

static void set_word(uint8_t *bytes, uint32_t word)
{
    for (unsigned i = 0; i < 4u; i++) {
        bytes[i] = (uint8_t)(word >> (8u * i));
    }
}

static void describe(struct board *board, uint8_t *cache, uint32_t cache_bytes)
{
    struct tfl_port *port = &board->port;

    port->context = board;
    port->read = no_bytes;
    port->write = no_line;
    port->sample = sample;
    port->cache = cache;
    port->cache_bytes = cache_bytes;
    port->window = UINT16_MAX;
    tfl_image_describe(&board->image, port);
    set_word(port->device, tfl_crc32(0, (const uint8_t *)port->name, sizeof port->name));
    set_word(port->device + 4, tfl_crc32(1, (const uint8_t *)port->name, sizeof port->name));
}

/* Lends this thread's workspace to the board. */
static void lend(struct board *board, struct workspace *workspace)
{
    board->node.session.body = workspace->body;
    board->node.dataset.arena = (int8_t *)workspace->arena;
    board->node.head.logits = workspace->logits;
    board->node.head.features = workspace->features;
#if TFL_MODEL_ADAPTER_COUNT > 0u
    board->node.adapter.x = workspace->adapter_features;
    board->node.adapter.embedding = workspace->adapted;
#endif
}

static uint64_t now(void)
{
    struct timespec time = {0, 0};

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

uint32_t sim_board_bytes(void)
{
    return (uint32_t)(sizeof(struct board) + 15u) & ~15u;
}

uint32_t sim_workspace_bytes(void)
{
    return (uint32_t)sizeof(struct workspace);
}

int sim_start(void *memory, void *lent, const uint8_t *image, uint32_t image_bytes, uint8_t *cache, uint32_t cache_bytes)
{
    struct board *board = memory;
    struct workspace *workspace = lent;
    const struct tfl_node_config config = {
        .port = &board->port,
        .model = &tfl_model,
        .arena = (int8_t *)workspace->arena,
        .body = workspace->body,
        .body_bytes = sizeof workspace->body,
        .master = board->master,
        .broadcast = board->broadcast,
        .logits = workspace->logits,
        .features = workspace->features,
#if TFL_MODEL_ADAPTER_COUNT > 0u
        .adapter_features = workspace->adapter_features,
        .adapted = workspace->adapted,
#elif TFL_FEEDBACK
        .residual = board->residual,
#endif
    };

    memset(board, 0, sizeof *board);
    if (tfl_image_open(&board->image, image, image_bytes) != 0) {
        return TFL_ERROR_SAMPLE;
    }
    describe(board, cache, cache_bytes);
    return tfl_node_init(&board->node, &config);
}

int sim_work(void *memory, void *lent, uint32_t milliseconds, struct sim_reply *reply)
{
    struct board *board = memory;
    struct tfl_session *session = &board->node.session;
    uint64_t end = now() + milliseconds;
    int status;

    lend(board, lent);
    do {
        status = tfl_node_poll(&board->node);
    } while (status > 0 && session->state != TFL_SESSION_REPLIED && now() < end);
    if (status < 0 || session->state != TFL_SESSION_REPLIED) {
        return status < 0 ? status : 0;
    }
    reply->body = session->content;
    reply->length = session->length;
    reply->type = session->type;
    return 1;
}

int sim_ask(void *memory, void *lent, uint8_t type, const uint8_t *body, uint32_t length, uint32_t milliseconds,
            struct sim_reply *reply)
{
    struct board *board = memory;

    sim_session_request(&board->node.session, type, body, length);
    return sim_work(memory, lent, milliseconds, reply);
}
