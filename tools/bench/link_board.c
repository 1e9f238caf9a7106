/* firmware/core/session.c with a port made of two buffers, for tools/bench/link.py. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

struct bench {
    struct tfl_session session;
    struct tfl_port port;
    struct tfl_retained retained;
    const uint8_t *in;
    uint8_t *out;
    uint32_t in_bytes, out_bytes;
    uint32_t taken, length, reply_bytes;
    uint8_t body[];
};

static int port_read(void *context, uint8_t *data, size_t size)
{
    struct bench *b = context;
    size_t count = b->in_bytes < size ? b->in_bytes : size;

    memcpy(data, b->in, count);
    b->in += count;
    b->in_bytes -= (uint32_t)count;
    return (int)count;
}

static int port_write(void *context, const uint8_t *data, size_t size)
{
    struct bench *b = context;

    memcpy(b->out + b->out_bytes, data, size);
    b->out_bytes += (uint32_t)size;
    return (int)size;
}

/* The bench has no keys: nothing comes here. */
void tfl_auth_mac(const struct tfl_auth *auth, uint8_t to_host, uint32_t counter, uint8_t type, const uint8_t *body,
                  uint32_t length, uint8_t mac[TFL_MAC_BYTES])
{
    (void)auth, (void)to_host, (void)counter, (void)type, (void)body, (void)length, (void)mac;
    abort();
}

int tfl_auth_holds(const struct tfl_auth *auth, uint32_t counter, uint8_t type, const uint8_t *body, uint32_t length,
                   const uint8_t mac[TFL_MAC_BYTES])
{
    (void)auth, (void)counter, (void)type, (void)body, (void)length, (void)mac;
    abort();
}

struct bench *bench_new(uint32_t body_bytes)
{
    struct bench *b = calloc(1, sizeof *b + body_bytes);

    if (b != NULL) {
        struct tfl_session_config config = {&b->port, b->body, body_bytes, &b->retained, NULL};

        b->port.context = b;
        b->port.read = port_read;
        b->port.write = port_write;
        tfl_session_init(&b->session, &config);
    }
    return b;
}

void bench_free(struct bench *b)
{
    free(b);
}

/* Replies have so many bytes of the body from now on. */
void bench_reply(struct bench *b, uint32_t bytes)
{
    b->reply_bytes = bytes;
}

/* The bytes that the board sends when it reads these; a request is answered at once. */
uint32_t bench_feed(struct bench *b, const uint8_t *data, uint32_t size, uint8_t *out)
{
    int type;

    b->in = data;
    b->in_bytes = size;
    b->out = out;
    b->out_bytes = 0;
    while ((type = tfl_session_poll(&b->session)) > 0) {
        b->taken++;
        b->length = b->session.length;
        if (tfl_session_reply(&b->session, (uint8_t)(type | 0x80), b->body, b->reply_bytes) != 0) {
            abort();
        }
    }
    return b->out_bytes;
}

uint32_t bench_taken(const struct bench *b)
{
    return b->taken;
}

uint8_t *bench_body(struct bench *b)
{
    return b->body;
}
