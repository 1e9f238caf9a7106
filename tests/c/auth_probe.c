/* firmware/core/auth.c for a program that asks it by lines of hex; "-" stands for no bytes:

   K key                              tfl_auth_init ("-": without a key); prints enrolled and active
   N boot hello random                prints the nonce
   W hello welcome                    prints the WELCOME with its proof, the session key and active
   M to_host counter type body        prints the MAC
   H counter type body mac            prints 1 where it holds */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "auth.h"

#define LINE_BYTES 30000

static char line[LINE_BYTES], first[LINE_BYTES], second[LINE_BYTES];
static uint8_t body[LINE_BYTES / 2], other[LINE_BYTES / 2];

static uint32_t unhex(const char *text, uint8_t *bytes)
{
    uint32_t count = 0;
    unsigned value;

    while (text[0] != '-' && sscanf(text + 2u * count, "%2x", &value) == 1) {
        bytes[count++] = (uint8_t)value;
    }
    return count;
}

static void print(const uint8_t *bytes, uint32_t size, const char *after)
{
    for (uint32_t i = 0; i < size; i++) {
        printf("%02x", bytes[i]);
    }
    fputs(after, stdout);
}

static void run(struct tfl_auth *auth)
{
    uint32_t a, b, c, size;
    uint8_t out[16];

    if (sscanf(line, "K %s", first) == 1) {
        tfl_auth_init(auth, unhex(first, body) == TFL_KEY_BYTES ? body : NULL);
        printf("%u %u\n", auth->enrolled, auth->active);
    } else if (sscanf(line, "N %" SCNu32 " %" SCNu32 " %" SCNu32, &a, &b, &c) == 3) {
        tfl_auth_nonce(auth, a, b, c, out);
        print(out, sizeof out, "\n");
    } else if (sscanf(line, "W %s %s", first, second) == 2) {
        size = unhex(second, other);
        tfl_auth_welcome(auth, body, unhex(first, body), other, size);
        print(other, size, " ");
        print(auth->session, TFL_KEY_BYTES, " ");
        printf("%u\n", auth->active);
    } else if (sscanf(line, "M %" SCNu32 " %" SCNu32 " %" SCNu32 " %s", &a, &b, &c, first) == 4) {
        tfl_auth_mac(auth, (uint8_t)a, b, (uint8_t)c, body, unhex(first, body), out);
        print(out, sizeof out, "\n");
    } else if (sscanf(line, "H %" SCNu32 " %" SCNu32 " %s %s", &b, &c, first, second) == 4) {
        size = unhex(first, body);
        printf("%d\n", unhex(second, other) == 16u ? tfl_auth_holds(auth, b, (uint8_t)c, body, size, other) : -1);
    }
}

int main(void)
{
    struct tfl_auth auth;

    tfl_auth_init(&auth, NULL);
    while (fgets(line, sizeof line, stdin) != NULL) {
        run(&auth);
    }
    return 0;
}
