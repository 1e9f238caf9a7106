#include "samples.h"

#if defined(TFL_DATA_ADDRESS)
#include "tfl/tfl_image.h"

static struct tfl_image image;

static int sample(void *context, unsigned split, uint32_t index, int8_t *x, uint8_t *label)
{
    (void)context;
    return tfl_image_sample(&image, split, index, x, label);
}

void tfl_samples_open(struct tfl_port *port)
{
    if (tfl_image_open(&image, (const uint8_t *)TFL_DATA_ADDRESS, TFL_DATA_BYTES) == 0) {
        port->sample = sample;
        tfl_image_describe(&image, port);
    }
}
#endif
