/* The data image: samples in memory, instead of a sensor (docs/DESIGN.md, "Data image"). */
#ifndef TFL_IMAGE_H
#define TFL_IMAGE_H

#include "tfl_port.h"

#define TFL_IMAGE_HEADER_BYTES 48u

struct tfl_image {
    const char *name; /* TFL_BOARD_NAME_BYTES, zero-padded */
    const uint8_t *labels;
    const int8_t *inputs;
    uint32_t input_bytes;
    uint32_t samples[TFL_SPLITS];
};

/* Checks the image at data, at most size bytes, which must outlive *image; 0, or TFL_ERROR_SAMPLE where there is none or
   it is damaged. */
int tfl_image_open(struct tfl_image *image, const uint8_t *data, uint32_t size) TFL_CHECKED;

/* As the port's sample(). */
int tfl_image_sample(const struct tfl_image *image, unsigned split, uint32_t index, int8_t *x,
                     uint8_t *label) TFL_CHECKED;

/* The port's samples, sample_bytes and name. */
void tfl_image_describe(const struct tfl_image *image, struct tfl_port *port);

#endif
