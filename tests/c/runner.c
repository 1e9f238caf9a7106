/* Runs compiled models on the host: stdin holds u32 case, u32 what, u32 count and the inputs. To stdout go
   the outputs (what = 0) or the embeddings after the backbone (what = 1). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"

/* What nobody has written differs from run to run: outputs that depend on it show. */
static void fill(int8_t *to, uint32_t size, uint32_t *state)
{
    for (; size > 0; size--) {
        *state = *state * 1664525u + 1013904223u;
        *to++ = (int8_t)(*state >> 24);
    }
}

/* The arena comes from malloc in its exact size, so that the sanitizer sees what leaves it. */
static int run_case(const struct tfl_model *model, uint32_t what, uint32_t count)
{
    int8_t *arena = malloc(model->arena_bytes);
    int ok = arena != NULL && (what == 0 || model->head != NULL);
    uint32_t layers = what == 0 ? model->layers : model->backbone_layers;
    uint32_t offset = what == 0 ? model->output_offset : model->embedding_offset;
    uint32_t size = what == 0 ? model->output_bytes : ok ? model->head->features : 0u;
    uint32_t state = count;

    for (uint32_t i = 0; ok && i < count; i++) {
        fill(arena, model->arena_bytes, &state);
        ok = fread(arena + model->input_offset, 1, model->input_bytes, stdin) == model->input_bytes;
        if (ok) {
            model->run(arena, 0, layers);
            ok = fwrite(arena + offset, 1, size, stdout) == size;
        }
    }
    free(arena);
    return ok;
}

int main(void)
{
    uint32_t header[3];

    while (fread(header, sizeof header, 1, stdin) == 1) {
        if (header[0] >= sizeof cases / sizeof cases[0] || !run_case(cases[header[0]], header[1], header[2])) {
            return 1;
        }
    }
    return 0;
}
