/* Runs of bytes with Helium: LETP leaves out what lies behind the last byte. */
#ifndef TFL_WINDOW_MVE_H
#define TFL_WINDOW_MVE_H

#include <stdint.h>

static inline void tfl_fill_run(int8_t *to, int8_t value, uint32_t count)
{
    __asm volatile("vdup.8 q0, %[value]\n\t"
                   "wlstp.8 lr, %[count], 2f\n"
                   "1:\n\t"
                   "vstrb.8 q0, [%[to]], #16\n\t"
                   "letp lr, 1b\n"
                   "2:"
                   : [to] "+r"(to)
                   : [value] "r"(value), [count] "r"(count)
                   : "lr", "q0", "memory");
}

/* `rows` runs of `count` bytes, at least one; how far they are from each other. */
static inline void tfl_copy_runs(int8_t *to, uint32_t to_step, const int8_t *from, uint32_t from_step, uint32_t count,
                                 uint32_t rows)
{
    const int8_t *x;
    int8_t *y;

    __asm volatile("1:\n\t"
                   "mov %[x], %[from]\n\t"
                   "mov %[y], %[to]\n\t"
                   "wlstp.8 lr, %[count], 3f\n"
                   "2:\n\t"
                   "vldrb.8 q0, [%[x]], #16\n\t"
                   "vstrb.8 q0, [%[y]], #16\n\t"
                   "letp lr, 2b\n"
                   "3:\n\t"
                   "add %[from], %[from_step]\n\t"
                   "add %[to], %[to_step]\n\t"
                   "subs %[rows], #1\n\t"
                   "bne 1b"
                   : [to] "+r"(to), [from] "+r"(from), [rows] "+r"(rows), [x] "=&r"(x), [y] "=&r"(y)
                   : [to_step] "r"(to_step), [from_step] "r"(from_step), [count] "r"(count)
                   : "lr", "q0", "cc", "memory");
}

#endif
