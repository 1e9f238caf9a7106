/* firmware/core/session.c with a port made of two buffers, for tests that drive it through ctypes. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define BUFFER_BYTES 65536u

struct board {
    struct tfl_session session;
    struct tfl_port port;
    struct tfl_retained retained;
    struct tfl_auth auth;
    uint8_t in[BUFFER_BYTES], out[BUFFER_BYTES];
    uint32_t in_next, in_end, out_end;
    uint32_t burst;  /* read gives at most so many bytes at once */
    uint32_t budget; /* bytes read and written until the link fails */
    uint32_t writes, boots, hellos;
    uint32_t body_bytes;
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
    b->writes++;
    return (int)size;
}

/* Power on: body and what is retained are what they were, the line is empty. */
void board_boot(struct board *b)
{
    const struct tfl_session_config config = {&b->port, b->body, b->body_bytes, &b->retained, &b->auth};

    b->auth.active = 0;
    b->in_next = b->in_end = b->out_end = 0;
    b->boots++;
    b->hellos = 0;
    tfl_session_init(&b->session, &config);
}

struct board *board_new(uint32_t body_bytes, uint32_t burst, const uint8_t *key)
{
    struct board *b = calloc(1, sizeof *b + body_bytes);

    if (b != NULL) {
        b->burst = burst;
        b->budget = UINT32_MAX;
        b->body_bytes = body_bytes;
        b->port.context = b;
        b->port.read = board_read;
        b->port.write = board_write;
        tfl_auth_init(&b->auth, key);
        board_boot(b);
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

const uint8_t *board_content(const struct board *b)
{
    return b->session.content;
}

int board_busy(const struct board *b)
{
    return tfl_session_busy(&b->session);
}

uint32_t board_skipped(const struct board *b)
{
    return b->session.decoder.skipped;
}

uint32_t board_writes(const struct board *b)
{
    return b->writes;
}

/* Units of an unfinished request. */
uint32_t board_units(const struct board *b)
{
    return b->session.received;
}

/* Flips a bit of what a reset leaves: of the body, or of the record behind it. */
void board_flip(struct board *b, uint32_t byte)
{
    uint8_t *at = byte < b->body_bytes ? b->body + byte : (uint8_t *)&b->retained + (byte - b->body_bytes);

    *at ^= 4u;
}

/* A WELCOME gets nonce and proof where there is a key; HELLO is still where the session left it. */
static int welcome(struct board *b, const uint8_t *body)
{
    uint8_t *out = b->session.brief;

    memcpy(out, body, TFL_WELCOME_BYTES);
    if (b->auth.enrolled != 0u) {
        b->hellos++;
        tfl_auth_nonce(&b->auth, b->boots, b->hellos, 0, out + TFL_WELCOME_BYTES - 32u);
        tfl_auth_welcome(&b->auth, b->session.content, b->session.length, out, TFL_WELCOME_BYTES);
    }
    return tfl_session_reply(&b->session, TFL_MESSAGE_WELCOME, out, TFL_WELCOME_BYTES);
}

int board_reply(struct board *b, uint8_t type, const uint8_t *body, uint32_t size)
{
    if (!tfl_session_busy(&b->session)) {
        return 0;
    }
    if (type == TFL_MESSAGE_WELCOME && size == TFL_WELCOME_BYTES) {
        return welcome(b, body);
    }
    memcpy(b->body, body, size);
    return tfl_session_reply(&b->session, type, b->body, size);
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
