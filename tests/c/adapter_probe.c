/* Trains adapters on the host: cases (adapter_case.h) from stdin, answers to stdout. Memory is exactly as large as it must
   be, so that the sanitizer sees what leaves it. */
#include <stdio.h>
#include <stdlib.h>

#include "adapter_case.h"

static void *blocks[32];
static unsigned used;

static void *room(uint32_t size)
{
    void *data = malloc(size > 0u ? size : 1u);

    if (data == NULL || used == sizeof blocks / sizeof blocks[0]) {
        exit(1);
    }
    blocks[used++] = data;
    return data;
}

static void *take(uint32_t size)
{
    void *data = room(size);

    if (fread(data, 1, size, stdin) != size) {
        exit(1);
    }
    return data;
}

static void give(const void *data, uint32_t size)
{
    if (fwrite(data, 1, size, stdout) != size) {
        exit(1);
    }
}

static uint32_t ticks(void)
{
    return 0;
}

int main(void)
{
    uint32_t word[WORDS];

    while (fread(word, sizeof word, 1, stdin) == 1) {
        run_case(word);
        while (used > 0u) {
            free(blocks[--used]);
        }
    }
    return 0;
}
