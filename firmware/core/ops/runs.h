/* Short runs of bytes: a call of memcpy or memset would cost more than the run. */
#ifndef TFL_RUNS_H
#define TFL_RUNS_H

#include <stdint.h>

#if defined(__ARM_FEATURE_UNALIGNED)
#define TFL_RUNS_OF_WORDS 1
#else
#define TFL_RUNS_OF_WORDS 0
#endif

/* Front to back, since the source may overlap the destination behind it. Returns where the next run goes. */
static inline int8_t *tfl_copy(int8_t *to, const int8_t *from, uint32_t count)
{
    for (; TFL_RUNS_OF_WORDS && count >= 4u; count -= 4u) {
        uint32_t word;

        __builtin_memcpy(&word, from, 4);
        __builtin_memcpy(to, &word, 4);
        from += 4;
        to += 4;
    }
    for (; count > 0; count--) {
        *to++ = *from++;
    }
    return to;
}

static inline int8_t *tfl_fill(int8_t *to, int8_t value, uint32_t count)
{
    const uint32_t word = (uint8_t)value * 0x01010101u;

    for (; TFL_RUNS_OF_WORDS && count >= 4u; count -= 4u) {
        __builtin_memcpy(to, &word, 4);
        to += 4;
    }
    for (; count > 0; count--) {
        *to++ = value;
    }
    return to;
}

#endif
