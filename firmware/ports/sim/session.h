/* A request's way in, beside the interface of core/session.h. */
#ifndef SIM_SESSION_H
#define SIM_SESSION_H

#include "../../core/session.h"

/* The next tfl_session_poll announces it; body must stay until then. What was under way is given up. */
void sim_session_request(struct tfl_session *s, uint8_t type, const uint8_t *body, uint32_t length);

#endif
