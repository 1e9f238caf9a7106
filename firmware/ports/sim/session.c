/* Takes the place of core/session.c: requests and replies are handed over as they are. There is no line, so there are no
   frames, no repeats and no MACs; all behind it is the board's own code. */
#include "../../core/session.h"

#include <string.h>

#include "session.h"

void tfl_session_init(struct tfl_session *s, const struct tfl_session_config *config)
{
    memset(s, 0, sizeof *s);
    s->port = config->port;
    s->body = config->body;
    s->body_bytes = tfl_least(config->body_bytes, TFL_MAX_UNITS * TFL_UNIT);
    s->retained = config->retained;
    s->auth = config->auth;
    s->chunk = TFL_CHUNK;
}

void sim_session_request(struct tfl_session *s, uint8_t type, const uint8_t *body, uint32_t length)
{
    s->counter = type == TFL_MESSAGE_HELLO ? 0u : s->counter + 1u;
    s->type = type;
    s->content = body;
    s->length = length;
    s->state = TFL_SESSION_RECEIVING;
}

int tfl_session_poll(struct tfl_session *s)
{
    if (s->state != TFL_SESSION_RECEIVING) {
        return 0;
    }
    s->state = TFL_SESSION_WORKING;
    if (s->length > s->body_bytes) {
        struct tfl_msg_error error = {.status = TFL_ERROR_SPACE, .detail = s->body_bytes};

        return tfl_session_reply(s, TFL_MESSAGE_ERROR, s->brief, tfl_error_encode(&error, s->brief));
    }
    return s->type;
}

int tfl_session_reply(struct tfl_session *s, uint8_t type, const uint8_t *body, uint32_t length)
{
    if (s->state == TFL_SESSION_WORKING) {
        s->type = type;
        s->content = body;
        s->length = length;
        s->state = TFL_SESSION_REPLIED;
    }
    return 0;
}

int tfl_session_log(const struct tfl_session *s, const char *text, uint32_t length)
{
    (void)s;
    (void)text;
    (void)length;
    return 0;
}
