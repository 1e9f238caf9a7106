/* firmware/core/session.c with a port made of two buffers, for tests that drive it through ctypes. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define BUFFER_BYTES 65536u

struct board {
    struct tfl_session session;
    struct tfl_port port;
    uint8_t in[BUFFER_BYTES], out[BUFFER_BYTES];
    uint32_t in_next, in_end, out_end;
    uint32_t burst;  /* read gives at most so many bytes at once */
    uint32_t budget; /* bytes read and written until the link fails */
    uint8_t body[];
};

static int board_read(void *context, uint8_t *data, size_t size)
{
    struct board *b = context;
    size_t count = b->in_end - b->in_next;

    count = count < size ? count : size;
    count = count < b->burst ? count : b->burst;
    if (count > b->budget) {
        return TFL_ERROR_LINK;
    }
    b->budget -= (uint32_t)count;
    memcpy(data, b->in + b->in_next, count);
    b->in_next += (uint32_t)count;
    return (int)count;
}

static int board_write(void *context, const uint8_t *data, size_t size)
{
    struct board *b = context;

    if (size > BUFFER_BYTES - b->out_end || size > b->budget) {
        return TFL_ERROR_LINK;
    }
    b->budget -= (uint32_t)size;
    memcpy(b->out + b->out_end, data, size);
    b->out_end += (uint32_t)size;
    return (int)size;
}

struct board *board_new(uint32_t body_bytes, uint32_t burst)
{
    struct board *b = calloc(1, sizeof *b + body_bytes);

    if (b != NULL) {
        b->burst = burst;
        b->budget = UINT32_MAX;
        b->port.context = b;
        b->port.read = board_read;
        b->port.write = board_write;
        tfl_session_init(&b->session, &b->port, b->body, body_bytes);
    }
    return b;
}

void board_budget(struct board *b, uint32_t bytes)
{
    b->budget = bytes;
}

void board_free(struct board *b)
{
    free(b);
}

void board_receive(struct board *b, const uint8_t *data, uint32_t size)
{
    if (b->in_next == b->in_end) {
        b->in_next = b->in_end = 0;
    }
    if (size > BUFFER_BYTES - b->in_end) {
        abort();
    }
    memcpy(b->in + b->in_end, data, size);
    b->in_end += size;
}

int board_poll(struct board *b)
{
    return tfl_session_poll(&b->session);
}

uint32_t board_length(const struct board *b)
{
    return b->session.length;
}

const uint8_t *board_body(const struct board *b)
{
    return b->body;
}

int board_busy(const struct board *b)
{
    return tfl_session_busy(&b->session);
}

uint32_t board_skipped(const struct board *b)
{
    return b->session.decoder.skipped;
}

int board_reply(struct board *b, uint8_t type, const uint8_t *body, uint32_t size)
{
    if (tfl_session_busy(&b->session)) {
        memcpy(b->body, body, size);
    }
    return tfl_session_reply(&b->session, type, size);
}

int board_log(struct board *b, const char *text, uint32_t size)
{
    return tfl_session_log(&b->session, text, size);
}

uint32_t board_sent(struct board *b, uint8_t *out)
{
    uint32_t size = b->out_end;

    memcpy(out, b->out, size);
    b->out_end = 0;
    return size;
}
