/* Lines "D hex" decode a stream, "E kind message session hex" encode a frame with a zero before it, "C hex" gives its
   CRC-32, "M NAME hex" decodes a message and encodes its fixed part again; "-" stands for no bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "frame.h"

#define LINE_BYTES 20000

static char line[LINE_BYTES], name[16], hex[LINE_BYTES];
static uint8_t bytes[LINE_BYTES / 2];

static uint32_t unhex(void)
{
    uint32_t count = 0;
    unsigned value;

    while (hex[0] != '-' && sscanf(hex + 2u * count, "%2x", &value) == 1) {
        bytes[count++] = (uint8_t)value;
    }
    return count;
}

static void print(const uint8_t *data, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        printf("%02x", data[i]);
    }
    printf("%s\n", size == 0u ? "-" : "");
}

static void decode(void)
{
    static struct tfl_decoder decoder;
    struct tfl_frame frame;
    uint32_t size = unhex();

    memset(&decoder, 0, sizeof decoder);
    for (uint32_t i = 0; i < size; i++) {
        if (tfl_frame_decode(&decoder, bytes[i], &frame)) {
            printf("%u %u %u ", frame.kind, frame.message, frame.session);
            print(frame.payload, frame.length);
        }
    }
    printf("skipped %" PRIu32 "\n", decoder.skipped);
}

static int print_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    if (size > TFL_ENCODER_BYTES) {
        return TFL_ERROR_LINK;
    }
    for (size_t i = 0; i < size; i++) {
        printf("%02x", data[i]);
    }
    return (int)size;
}

static void encode(void)
{
    static const struct tfl_port port = {.write = print_write};
    unsigned kind, message, session;
    struct tfl_frame frame = {0};
    struct tfl_encoder encoder;
    uint32_t size;

    if (sscanf(line, "E %u %u %u %s", &kind, &message, &session, hex) != 4) {
        return;
    }
    frame.kind = (uint8_t)kind;
    frame.message = (uint8_t)message;
    frame.session = (uint16_t)session;
    size = unhex();
    tfl_frame_begin(&encoder, &port, &frame, 1);
    tfl_frame_add(&encoder, bytes, size / 3u); /* in two pieces */
    tfl_frame_add(&encoder, bytes + size / 3u, size - size / 3u);
    printf("%s\n", tfl_frame_end(&encoder) == 0 ? "" : " failed");
}

#define TRY_MESSAGE(NAME, low)                                 \
    if (strcmp(name, #NAME) == 0) {                            \
        struct tfl_msg_##low m;                                \
        int status = tfl_##low##_decode(&m, bytes, size);      \
        if (status != 0) {                                     \
            printf("%d\n", status);                            \
        } else {                                               \
            print(again, tfl_##low##_encode(&m, again));       \
        }                                                      \
        return;                                                \
    }

static void message(void)
{
    uint8_t again[256];
    uint32_t size;

    if (sscanf(line, "M %15s %s", name, hex) == 2) {
        size = unhex();
        TFL_EACH_MESSAGE(TRY_MESSAGE)
        printf("none\n");
    }
}

int main(void)
{
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (line[0] == 'E') {
            encode();
        } else if (line[0] == 'M') {
            message();
        } else if (sscanf(line + 1, "%s", hex) == 1) {
            uint32_t size;

            if (line[0] == 'D') {
                decode();
            } else {
                size = unhex();
                printf("%08" PRIx32 "\n", tfl_crc32(tfl_crc32(0, bytes, size / 2u), bytes + size / 2u, size - size / 2u));
            }
        }
    }
    return 0;
}
