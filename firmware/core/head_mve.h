/* head_block.h's four classes with Helium: a row of weights is one vector. */
#ifndef TFL_HEAD_MVE_H
#define TFL_HEAD_MVE_H

/* VLDRH finds the upper halves of a row's weights at 2, 6, 10 and 14. */
static inline void tfl_forward_4(const int32_t *block, const uint32_t *x, unsigned n, int32_t *z)
{
    uint32_t row, value;

    __asm volatile("mov r12, #2\n\t"
                   "vidup.u32 q2, r12, #4\n\t"
                   "vmov.i32 q0, #0\n\t"
                   "dls lr, %[n]\n"
                   "1:\n\t"
                   "ldr %[value], [%[x]], #4\n\t"
                   "add %[row], %[block], %[value], lsr #16\n\t"
                   "sxth %[value], %[value]\n\t"
                   "vldrh.s32 q1, [%[row], q2]\n\t"
                   "vmla.s32 q0, q1, %[value]\n\t"
                   "le lr, 1b\n\t"
                   "vstrw.32 q0, [%[z]]"
                   : [x] "+r"(x), [row] "=&r"(row), [value] "=&r"(value)
                   : [block] "r"(block), [n] "r"(n), [z] "r"(z)
                   : "r12", "lr", "q0", "q1", "q2", "memory");
}

static inline void tfl_update_4(int32_t *block, const uint32_t *x, unsigned n, const int32_t *g)
{
    uint32_t row, value;

    __asm volatile("vldrw.u32 q0, [%[g]]\n\t"
                   "vneg.s32 q0, q0\n\t"
                   "dls lr, %[n]\n"
                   "1:\n\t"
                   "ldr %[value], [%[x]], #4\n\t"
                   "add %[row], %[block], %[value], lsr #16\n\t"
                   "sxth %[value], %[value]\n\t"
                   "vldrw.u32 q1, [%[row]]\n\t"
                   "vmla.s32 q1, q0, %[value]\n\t"
                   "vstrw.32 q1, [%[row]]\n\t"
                   "le lr, 1b"
                   : [x] "+r"(x), [row] "=&r"(row), [value] "=&r"(value)
                   : [block] "r"(block), [n] "r"(n), [g] "r"(g)
                   : "lr", "q0", "q1", "memory");
}

#endif
