/* The board's side of a session: requests arrive whole, replies are kept for repeats (docs/WIRE.md).

   A long request and the replies share one body of the caller's. There are no timers: the board only reacts. */
#ifndef TFL_SESSION_H
#define TFL_SESSION_H

#include <stdint.h>

#include "auth.h"
#include "frame.h"
#include "retained.h"
#include "tfl/tfl_port.h"
#include "tfl/tfl_wire.h"

#define TFL_SESSION_INPUT_BYTES 32u

typedef char tfl_chunk_is_whole_units[TFL_CHUNK % TFL_UNIT == 0u && TFL_CHUNK >= TFL_WELCOME_BYTES ? 1 : -1];
typedef char tfl_chunk_is_wishable[TFL_CHUNK <= 15u * TFL_UNIT ? 1 : -1]; /* the byte kind has four bits for it */

enum tfl_session_state {
    TFL_SESSION_IDLE,      /* there is no current message */
    TFL_SESSION_RECEIVING, /* a request is under way: it is the retained one */
    TFL_SESSION_WORKING,   /* handed to the caller, who owes a reply */
    TFL_SESSION_REPLIED
};

struct tfl_session_config {
    const struct tfl_port *port;
    uint8_t *body;
    uint32_t body_bytes;           /* the largest request's, which TFL_MAX_UNITS may cut */
    struct tfl_retained *retained; /* whatever it holds, it is checked */
    struct tfl_auth *auth;         /* null: this board has no keys */
};

struct tfl_session {
    /* For the caller: the request that poll announced, until the next poll. Then the session's: the reply. */
    const uint8_t *content;
    uint32_t length;
    uint8_t type;
    uint32_t counter; /* of the current message; its low byte goes over the wire */

    uint8_t *body; /* the caller may write replies here while it owes one */
    uint32_t body_bytes;
    uint8_t brief[TFL_WELCOME_BYTES]; /* and replies here that leave the body alone: WELCOME, ERROR */

    /* The session's own. */
    const struct tfl_port *port;
    struct tfl_retained *retained;
    struct tfl_auth *auth;
    uint32_t taken;    /* counter of the last message that was handed over or refused */
    uint16_t number;   /* of the session; 0: none */
    uint16_t previous; /* the session before: its late HELLO is not taken for a new one */
    uint16_t chunk;    /* body bytes of the frames that the host wants */
    uint16_t received; /* units of the retained request */
    uint8_t state;
    uint8_t resumed; /* units of the request came before its OPEN */
    uint8_t input_next, input_end;
    uint8_t input[TFL_SESSION_INPUT_BYTES];
    uint8_t mac[TFL_MAC_BYTES]; /* of the request under way, then of the reply */
    struct tfl_decoder decoder;
};

void tfl_session_init(struct tfl_session *s, const struct tfl_session_config *config);

/* Reads the port and answers repeats. > 0: a request of this type has arrived whole (once): s->content, s->length,
   until the next poll; 0: none; < 0: the link is gone. */
int tfl_session_poll(struct tfl_session *s) TFL_CHECKED;

/* Sends a reply and keeps it for repeats until the next request: body (s->body, s->brief) must stay as it is. 0, or < 0:
   the link is gone. Does nothing when no reply is owed: the host gave the request up. */
int tfl_session_reply(struct tfl_session *s, uint8_t type, const uint8_t *body, uint32_t length) TFL_CHECKED;

/* Sends a line of text that belongs to no message, cut at one chunk; 0 or < 0: the link is gone. */
int tfl_session_log(const struct tfl_session *s, const char *text, uint32_t length) TFL_CHECKED;

/* 1 from the moment that poll announced a request until its reply. 0 after a poll while a job still runs: the host gave
   it up for a new message or session; drop the job and leave the body alone. */
static inline int tfl_session_busy(const struct tfl_session *s)
{
    return s->state == TFL_SESSION_WORKING;
}

#endif
