/* Input and output of a probe: stdin and stdout. */
#ifndef PROBE_H
#define PROBE_H

#include <stdio.h>
#include <stdlib.h>

/* The next bytes; exactly as large as it must be, so that the sanitizer sees what leaves it. */
static void *take(size_t size)
{
    void *data = malloc(size > 0u ? size : 1u);

    if (data == NULL || fread(data, 1, size, stdin) != size) {
        exit(1);
    }
    return data;
}

static void give(const void *data, size_t size)
{
    if (fwrite(data, 1, size, stdout) != size) {
        exit(1);
    }
}

#endif
