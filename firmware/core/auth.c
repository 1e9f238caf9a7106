/* The twin of tinyfl/wire/auth.py. BLAKE2b, comparing and wiping are Monocypher's (host/tinyfl_host/thirdparty.py). */
#include "auth.h"

#include <monocypher.h>
#include <string.h>

#include "fixed.h"

#define PROOF_BYTES 16u

static const uint8_t proof_label[] = {'t', 'i', 'n', 'y', 'f', 'l', ' ', 'p', 'r', 'o', 'o', 'f'};
static const uint8_t session_label[] = {'t', 'i', 'n', 'y', 'f', 'l', ' ', 's', 'e', 's', 's', 'i', 'o', 'n'};

void tfl_auth_init(struct tfl_auth *auth, const uint8_t *key)
{
    memset(auth, 0, sizeof *auth);
    if (key != 0) {
        memcpy(auth->key, key, TFL_KEY_BYTES);
        auth->enrolled = 1;
    }
}

/* The counters make it unique; who does not know the key cannot foretell the rest, even without a source of randomness. */
void tfl_auth_nonce(const struct tfl_auth *auth, uint32_t boot, uint32_t hello, uint32_t random, uint8_t nonce[16])
{
    uint8_t seed[12];

    tfl_store32_le(seed, boot);
    tfl_store32_le(seed + 4, hello);
    tfl_store32_le(seed + 8, random);
    crypto_blake2b_keyed(nonce + 8, 8, auth->key, TFL_KEY_BYTES, seed, sizeof seed);
    memcpy(nonce, seed, 8);
}

void tfl_auth_welcome(struct tfl_auth *auth, const uint8_t *hello, uint32_t hello_bytes, uint8_t *welcome,
                      uint32_t welcome_bytes)
{
    uint32_t base_bytes = welcome_bytes - PROOF_BYTES; /* of WELCOME's */
    crypto_blake2b_ctx hash;

    crypto_blake2b_keyed_init(&hash, TFL_KEY_BYTES, auth->key, TFL_KEY_BYTES);
    crypto_blake2b_update(&hash, session_label, sizeof session_label);
    crypto_blake2b_update(&hash, hello, hello_bytes);
    crypto_blake2b_update(&hash, welcome, base_bytes);
    crypto_blake2b_final(&hash, auth->session);

    crypto_blake2b_keyed_init(&hash, PROOF_BYTES, auth->key, TFL_KEY_BYTES);
    crypto_blake2b_update(&hash, proof_label, sizeof proof_label);
    crypto_blake2b_update(&hash, hello, hello_bytes);
    crypto_blake2b_update(&hash, welcome, base_bytes);
    crypto_blake2b_final(&hash, welcome + base_bytes);
    auth->active = 1;
}

void tfl_auth_mac(const struct tfl_auth *auth, uint8_t to_host, uint32_t counter, uint8_t type, const uint8_t *body,
                  uint32_t length, uint8_t mac[TFL_MAC_BYTES])
{
    crypto_blake2b_ctx hash;
    uint8_t head[10];

    head[0] = to_host;
    tfl_store32_le(head + 1, counter);
    head[5] = type;
    tfl_store32_le(head + 6, length);
    crypto_blake2b_keyed_init(&hash, TFL_MAC_BYTES, auth->session, TFL_KEY_BYTES);
    crypto_blake2b_update(&hash, head, sizeof head);
    crypto_blake2b_update(&hash, body, length);
    crypto_blake2b_final(&hash, mac); /* wipes hash */
}

int tfl_auth_holds(const struct tfl_auth *auth, uint32_t counter, uint8_t type, const uint8_t *body, uint32_t length,
                   const uint8_t mac[TFL_MAC_BYTES])
{
    uint8_t expected[TFL_MAC_BYTES];
    int differs;

    tfl_auth_mac(auth, 0, counter, type, body, length, expected);
    differs = crypto_verify16(mac, expected);
    crypto_wipe(expected, sizeof expected); /* a stranger's message had this MAC: nobody may find it in RAM */
    return differs == 0;
}
