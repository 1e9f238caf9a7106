#include "samples.h"

#if defined(TFL_DATA_ADDRESS)
#include "tfl/tfl_image.h"
#include "tfl/tfl_wire.h"

static struct tfl_image image;

static int sample(void *context, unsigned split, uint32_t index, int8_t *x, uint8_t *label)
{
    (void)context;
    return tfl_image_sample(&image, split, index, x, label);
}

static void set_word(uint8_t *bytes, uint32_t word)
{
    for (unsigned i = 0; i < 4u; i++) {
        bytes[i] = (uint8_t)(word >> (8u * i));
    }
}

/* Where the chip has no number of its own: as the posix port does. */
static void set_device(struct tfl_port *port)
{
    set_word(port->device, tfl_crc32(0, (const uint8_t *)port->name, sizeof port->name));
    set_word(port->device + 4, tfl_crc32(1, (const uint8_t *)port->name, sizeof port->name));
}

void tfl_samples_open(struct tfl_port *port)
{
    if (tfl_image_open(&image, (const uint8_t *)TFL_DATA_ADDRESS, TFL_DATA_BYTES) == 0) {
        port->sample = sample;
        tfl_image_describe(&image, port);
        set_device(port);
    }
}
#endif
