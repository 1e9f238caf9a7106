/* Opens data images: stdin holds u32 size and the bytes, again and again. To stdout: 0 for none, or 1, input bytes, both
   counts, 16 bytes of name, and of each sample the label and the input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tfl/tfl_image.h"

static int give(const void *data, size_t size)
{
    return fwrite(data, 1, size, stdout) == size;
}

static int give_samples(const struct tfl_image *image)
{
    int8_t *x = malloc(image->input_bytes);
    int ok = x != NULL;

    for (unsigned split = 0; split < TFL_SPLITS; split++) {
        for (uint32_t i = 0; ok && i < image->samples[split]; i++) {
            uint8_t label;

            ok = tfl_image_sample(image, split, i, x, &label) == 0 && give(&label, 1) && give(x, image->input_bytes);
        }
        ok = ok && tfl_image_sample(image, split, image->samples[split], x, (uint8_t *)x) < 0;
    }
    free(x);
    return ok;
}

static int give_image(const uint8_t *data, uint32_t size)
{
    struct tfl_image image;
    struct tfl_port port = {0};
    uint32_t found = tfl_image_open(&image, data, size) == 0 ? 1u : 0u;

    if (!give(&found, sizeof found) || found == 0u) {
        return found == 0u;
    }
    tfl_image_describe(&image, &port);
    return give(&port.sample_bytes, sizeof port.sample_bytes) && give(port.samples, sizeof port.samples) &&
           give(port.name, sizeof port.name) && give_samples(&image);
}

int main(void)
{
    uint32_t size;

    while (fread(&size, sizeof size, 1, stdin) == 1) {
        uint8_t *data = malloc(size > 0u ? size : 1u); /* exactly: the sanitizer sees what is read beyond */
        int ok = data != NULL && fread(data, 1, size, stdin) == size && give_image(data, size);

        free(data);
        if (!ok) {
            return 1;
        }
    }
    return 0;
}
