/* sparse.h for Armv6-M. */
#ifndef TFL_SPARSE_V6M_H
#define TFL_SPARSE_V6M_H

#define TFL_NAKED static __attribute__((naked, noinline, unused))
#define TFL_UNUSED __attribute__((unused))

/* Four pixels; the mask's bits go through the carry. */
TFL_NAKED const int8_t *tfl_sparse_lanes_4(int32_t *sums TFL_UNUSED, const int32_t *x TFL_UNUSED,
                                           const int8_t *w TFL_UNUSED, const int32_t *end TFL_UNUSED)
{
    __asm volatile(".syntax unified\n\t"
                   "push {r0, r4-r7, lr}\n\t"
                   "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
                   "push {r4-r7}\n\t"
                   "mov r4, r1\n\tmov r5, r2\n\tmov r12, r3\n\t"
                   "movs r0, #0\n\t"
                   "mov r8, r0\n\tmov r9, r0\n\tmov r10, r0\n\tmov r11, r0\n"
                   "1:\n\t"
                   "ldrb r6, [r5]\n\t"
                   "adds r5, #1\n\t"
                   "lsls r6, r6, #24\n\t"
                   "bne 2f\n\t"
                   "adds r4, #128\n\t"
                   "b 5f\n"
                   "2:\n"
                   ".rept 8\n\t"
                   "lsls r6, r6, #1\n\t"
                   "bcc 3f\n\t"
                   "ldrb r7, [r5]\n\t"
                   "sxtb r7, r7\n\t"
                   "adds r5, #1\n\t"
                   "ldmia r4!, {r0-r3}\n\t"
                   "muls r0, r7, r0\n\t"
                   "muls r1, r7, r1\n\t"
                   "muls r2, r7, r2\n\t"
                   "muls r3, r7, r3\n\t"
                   "add r8, r0\n\t"
                   "add r9, r1\n\t"
                   "add r10, r2\n\t"
                   "add r11, r3\n\t"
                   "b 4f\n"
                   "3:\n\t"
                   "adds r4, #16\n"
                   "4:\n"
                   ".endr\n"
                   "5:\n\t"
                   "cmp r4, r12\n\t"
                   "beq 6f\n\t"
                   "b 1b\n"
                   "6:\n\t"
                   "ldr r4, [sp, #16]\n\t"
                   "mov r0, r8\n\tmov r1, r9\n\tmov r2, r10\n\tmov r3, r11\n\t"
                   "stmia r4!, {r0-r3}\n\t"
                   "mov r0, r5\n\t"
                   "pop {r4-r7}\n\t"
                   "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
                   "pop {r3-r7, pc}");
}

/* Two pixels. */
static TFL_ALONE const int8_t *tfl_sparse_lanes_2(int32_t *sums, const int32_t *x, const int8_t *w, const int32_t *end)
{
    uint32_t sum0 = 0, sum1 = 0; /* a lane without a pixel wraps */

    for (; x != end; x += 2u * TFL_GROUP) {
        const int32_t *at = x;

        for (uint32_t mask = (uint32_t)(uint8_t)*w++ << 24; mask != 0; mask <<= 1) {
            if ((int32_t)mask < 0) {
                sum0 += (uint32_t)at[0] * (uint32_t)*w;
                sum1 += (uint32_t)at[1] * (uint32_t)*w++;
            }
            at += 2;
        }
    }
    sums[0] = (int32_t)sum0;
    sums[1] = (int32_t)sum1;
    return w;
}

static inline const int8_t *tfl_sparse_lanes(int32_t *sums, const int32_t *x, const int8_t *w, const int32_t *end,
                                             unsigned words)
{
    return words == 4u ? tfl_sparse_lanes_4(sums, x, w, end) : tfl_sparse_lanes_2(sums, x, w, end);
}

/* Each half of a mask is a jump to the code for its four bits, 32 bytes each (the last one may be longer). Only a group
   without weights can be the one behind the last. */
TFL_NAKED const int8_t *tfl_sparse_columns(const int32_t bias[TFL_GROUP] TFL_UNUSED, const int8_t *x TFL_UNUSED,
                                           const int8_t *w TFL_UNUSED, const int8_t *end TFL_UNUSED,
                                           int32_t sums[TFL_GROUP] TFL_UNUSED)
{
    __asm volatile(".syntax unified\n\t"
                   ".macro tfl_weight bit, sum\n\t"
                   ".if tfl_half & \\bit\n\t"
                   "ldrb r3, [r2, #tfl_at]\n\t"
                   "sxtb r3, r3\n\t"
                   "muls r3, r0, r3\n\t"
                   "add \\sum, r3\n\t"
                   ".set tfl_at, tfl_at + 1\n\t"
                   ".endif\n\t"
                   ".endm\n\t"
                   ".macro tfl_four half, s0, s1, s2, s3\n\t"
                   ".set tfl_half, \\half\n\t"
                   "tfl_weight 8, \\s0\n\t"
                   "tfl_weight 4, \\s1\n\t"
                   "tfl_weight 2, \\s2\n\t"
                   "tfl_weight 1, \\s3\n\t"
                   "adds r2, #tfl_at\n\t"
                   ".endm\n\t"
                   ".macro tfl_fill half, from\n\t"
                   ".if \\half < 15\n\t.org \\from + 32\n\t.endif\n\t"
                   ".endm\n\t"
                   "push {r3-r7, lr}\n\t"
                   "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
                   "push {r4-r7}\n\t"
                   "ldmia r0!, {r6, r7}\n\t"
                   "ldmia r0!, {r3-r5}\n\t"
                   "mov r8, r3\n\tmov r9, r4\n\tmov r10, r5\n\t"
                   "ldmia r0!, {r3-r5}\n\t"
                   "mov r11, r3\n\tmov r12, r4\n\tmov lr, r5\n\t"
                   "b 2f\n"
                   "1:\n\t"
                   "adds r2, #1\n\t"
                   "ldr r3, [sp, #16]\n\t"
                   "cmp r1, r3\n\t"
                   "bne 6f\n\t"
                   "b 4f\n"
                   "6:\n\t"
                   "adds r1, #1\n"
                   "2:\n\t"
                   "ldrb r5, [r2]\n\t"
                   "lsrs r4, r5, #4\n\t"
                   "lsls r4, r4, #5\n\t"
                   "add pc, r4\n\t"
                   "nop\n"
                   "5:\n\t"
                   "cmp r5, #0\n\t"
                   "beq 1b\n\t"
                   "ldrb r0, [r1]\n\t"
                   "sxtb r0, r0\n\t"
                   "adds r2, #1\n\t"
                   "b 3f\n\t"
                   "tfl_fill 0, 5b\n\t"
                   ".irp half, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                   "5:\n\t"
                   "ldrb r0, [r1]\n\t"
                   "sxtb r0, r0\n\t"
                   ".set tfl_at, 1\n\t"
                   "tfl_four \\half, r6, r7, r8, r9\n\t"
                   ".if \\half < 15\n\tb 3f\n\t.endif\n\t"
                   "tfl_fill \\half, 5b\n\t"
                   ".endr\n"
                   "3:\n\t"
                   "adds r1, #1\n\t"
                   "lsls r4, r5, #28\n\t"
                   "lsrs r4, r4, #23\n\t"
                   "add pc, r4\n\t"
                   "nop\n\t"
                   ".irp half, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                   "5:\n\t"
                   ".set tfl_at, 0\n\t"
                   "tfl_four \\half, r10, r11, r12, lr\n\t"
                   "b 2b\n\t"
                   "tfl_fill \\half, 5b\n\t"
                   ".endr\n"
                   "4:\n\t"
                   "ldr r0, [sp, #40]\n\t"
                   "stmia r0!, {r6, r7}\n\t"
                   "mov r3, r8\n\tmov r4, r9\n\tmov r5, r10\n\t"
                   "stmia r0!, {r3-r5}\n\t"
                   "mov r3, r11\n\tmov r4, r12\n\tmov r5, lr\n\t"
                   "stmia r0!, {r3-r5}\n\t"
                   "mov r0, r2\n\t"
                   "pop {r4-r7}\n\t"
                   "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
                   "pop {r3-r7, pc}\n\t"
                   ".purgem tfl_weight\n\t"
                   ".purgem tfl_four\n\t"
                   ".purgem tfl_fill");
}

#endif
