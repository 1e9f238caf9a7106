/* The board's side of a session: requests arrive whole, replies are kept for repeats (docs/WIRE.md).

   The request's and the reply's body share one buffer of the caller's. There are no timers: the board only reacts. */
#ifndef TFL_SESSION_H
#define TFL_SESSION_H

#include <stdint.h>

#include "frame.h"
#include "tfl/tfl_port.h"
#include "tfl/tfl_wire.h"

#define TFL_SESSION_INPUT_BYTES 32u

typedef char tfl_chunk_holds_a_welcome[TFL_CHUNK >= 5u + TFL_WELCOME_BYTES ? 1 : -1];

enum tfl_session_state {
    TFL_SESSION_IDLE,      /* nothing came yet in this session */
    TFL_SESSION_RECEIVING, /* a request is under way */
    TFL_SESSION_WORKING,   /* handed to the caller, who owes a reply */
    TFL_SESSION_REPLIED
};

struct tfl_session {
    /* For the caller: a request that poll announced. */
    uint8_t *body;
    uint32_t length;
    uint8_t type;

    /* The session's own. */
    uint8_t state;
    uint8_t message;   /* counter of the current message */
    uint16_t number;   /* of the session; 0: none */
    uint16_t previous; /* the session before: its late HELLO is not taken for a new one */
    uint32_t digest;
    uint32_t received; /* chunks */
    uint32_t body_bytes;
    const struct tfl_port *port;
    uint8_t bitmap[(TFL_MAX_CHUNKS + 7u) / 8u];
    uint8_t input[TFL_SESSION_INPUT_BYTES];
    uint8_t input_next, input_end;
    struct tfl_decoder decoder;
};

/* body_bytes: at least TFL_WELCOME_BYTES; the board's largest body, which TFL_MAX_CHUNKS may cut (s->body_bytes). */
void tfl_session_init(struct tfl_session *s, const struct tfl_port *port, uint8_t *body, uint32_t body_bytes);

/* Reads the port and answers repeats. > 0: a request of this type has arrived whole (once): body in s->body, s->length;
   0: none; < 0: the link is gone. */
int tfl_session_poll(struct tfl_session *s) TFL_CHECKED;

/* Sends s->body[0..length) and keeps it for repeats until the next request; 0 or < 0: the link is gone. Does nothing when
   no reply is owed: the host gave the request up. */
int tfl_session_reply(struct tfl_session *s, uint8_t type, uint32_t length) TFL_CHECKED;

/* Sends a line of text that belongs to no message, cut at one chunk; 0 or < 0: the link is gone. */
int tfl_session_log(const struct tfl_session *s, const char *text, uint32_t length) TFL_CHECKED;

/* 1 from the moment that poll announced a request until its reply. 0 after a poll while a job still runs: the host gave it
   up for a new message or session; drop the job and leave the body alone. */
static inline int tfl_session_busy(const struct tfl_session *s)
{
    return s->state == TFL_SESSION_WORKING;
}

#endif
