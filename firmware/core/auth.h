/* Who may talk to this board: keyed BLAKE2b over messages (docs/WIRE.md, "Authentication"; RFC 7693). */
#ifndef TFL_AUTH_H
#define TFL_AUTH_H

#include <stdint.h>

#include "tfl/tfl_wire.h"

#define TFL_KEY_BYTES 32u

struct tfl_auth {
    uint8_t key[TFL_KEY_BYTES];     /* the board's own */
    uint8_t session[TFL_KEY_BYTES]; /* of the present session */
    uint8_t enrolled;               /* there is a key */
    uint8_t active;                 /* there is a session key: every message carries a MAC */
};

/* key: of TFL_KEY_BYTES; null where the board has none. */
void tfl_auth_init(struct tfl_auth *auth, const uint8_t *key);

/* A nonce that is never the same twice for one key, if boot and hello (HELLOs since then) never are both. */
void tfl_auth_nonce(const struct tfl_auth *auth, uint32_t boot, uint32_t hello, uint32_t random, uint8_t nonce[16]);

/* Answers HELLO: overwrites the last 16 bytes of a WELCOME's body by the proof, derives the session key, sets active. */
void tfl_auth_welcome(struct tfl_auth *auth, const uint8_t *hello, uint32_t hello_bytes, uint8_t *welcome,
                      uint32_t welcome_bytes);

/* The MAC of a message of the present session; to_host: 0 or 1. */
void tfl_auth_mac(const struct tfl_auth *auth, uint8_t to_host, uint32_t counter, uint8_t type, const uint8_t *body,
                  uint32_t length, uint8_t mac[TFL_MAC_BYTES]);

/* 1 where mac is that of the message to the board, compared in constant time; else 0. */
int tfl_auth_holds(const struct tfl_auth *auth, uint32_t counter, uint8_t type, const uint8_t *body, uint32_t length,
                   const uint8_t mac[TFL_MAC_BYTES]) TFL_CHECKED;

#endif
