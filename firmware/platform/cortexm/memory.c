/* The four functions that a compiler may call on its own (GCC manual, "-ffreestanding"); the image has no other libc. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

/* Words where both sides allow it, then the bytes that are left. */
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if ((((uintptr_t)t | (uintptr_t)f) & 3u) == 0u) {
        for (; size >= 4u; size -= 4u, t += 4, f += 4) {
            *(uint32_t *)(void *)t = *(const uint32_t *)(const void *)f;
        }
    }
    while (size-- > 0u) {
        *t++ = *f++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *t = to;
    const uint8_t *f = from;

    if ((uintptr_t)t <= (uintptr_t)f) {
        while (size-- > 0u) {
            *t++ = *f++;
        }
    } else {
        while (size-- > 0u) {
            t[size] = f[size];
        }
    }
    return to;
}

void *memset(void *to, int value, size_t size)
{
    uint8_t *t = to;
    uint32_t word = (uint8_t)value * 0x01010101u;

    if (((uintptr_t)t & 3u) == 0u) {
        for (; size >= 4u; size -= 4u, t += 4) {
            *(uint32_t *)(void *)t = word;
        }
    }
    while (size-- > 0u) {
        *t++ = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a;
    const uint8_t *y = b;

    for (; size > 0u; size--, x++, y++) {
        if (*x != *y) {
            return *x - *y;
        }
    }
    return 0;
}
