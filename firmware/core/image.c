/* Reads a data image; trusts nothing before the header's sizes and the CRC have been checked. */
#include "tfl/tfl_image.h"

#include <string.h>

#include "fixed.h"
#include "tfl/tfl_wire.h"

#define VERSION 1u

static const uint8_t magic[4] = {'T', 'F', 'L', 'D'};

/* Bytes of the payload; 0 or TFL_ERROR_SAMPLE where the counts cannot be right: no product or sum may wrap. */
static int payload_bytes(const struct tfl_image *image, uint32_t room, uint32_t *bytes)
{
    uint32_t train = image->samples[0], test = image->samples[1];
    uint32_t count = train + test, labels, inputs;

    if (image->input_bytes == 0u || train > room || test > room - train || count > room / image->input_bytes) {
        return TFL_ERROR_SAMPLE;
    }
    labels = (count + 3u) & ~3u; /* count <= room < 2^32 - 48 */
    inputs = count * image->input_bytes;
    *bytes = labels + inputs;
    return labels > room - inputs ? TFL_ERROR_SAMPLE : 0;
}

int tfl_image_open(struct tfl_image *image, const uint8_t *data, uint32_t size)
{
    const uint8_t *payload;
    uint32_t bytes;

    if (size < TFL_IMAGE_HEADER_BYTES || memcmp(data, magic, sizeof magic) != 0 ||
        tfl_load16_le(data + 4) != VERSION || tfl_load16_le(data + 6) != TFL_IMAGE_HEADER_BYTES) {
        return TFL_ERROR_SAMPLE;
    }
    payload = data + TFL_IMAGE_HEADER_BYTES;
    image->input_bytes = tfl_load32_le(data + 8);
    image->samples[0] = tfl_load32_le(data + 12);
    image->samples[1] = tfl_load32_le(data + 16);
    if (payload_bytes(image, size - TFL_IMAGE_HEADER_BYTES, &bytes) != 0 ||
        tfl_crc32(0, payload, bytes) != tfl_load32_le(data + 20)) {
        return TFL_ERROR_SAMPLE;
    }
    image->name = (const char *)data + 32;
    image->labels = payload;
    image->inputs = (const int8_t *)payload + ((image->samples[0] + image->samples[1] + 3u) & ~3u);
    return 0;
}

int tfl_image_sample(const struct tfl_image *image, unsigned split, uint32_t index, int8_t *x, uint8_t *label)
{
    if (split >= TFL_SPLITS || index >= image->samples[split]) {
        return TFL_ERROR_SAMPLE;
    }
    index += split == 1u ? image->samples[0] : 0u;
    *label = image->labels[index];
    memcpy(x, image->inputs + index * image->input_bytes, image->input_bytes);
    return 0;
}

void tfl_image_describe(const struct tfl_image *image, struct tfl_port *port)
{
    port->samples[0] = image->samples[0];
    port->samples[1] = image->samples[1];
    port->sample_bytes = image->input_bytes;
    memcpy(port->name, image->name, TFL_BOARD_NAME_BYTES);
}
