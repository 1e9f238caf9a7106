/* sparse.h for Thumb-2: the flags tell two bits of a mask at a time, and one SMLAL multiplies the inputs of two pixels.
   A word holds x1 2^23 + x0, |.| < 2^31, and 64 bits hold sum1 2^23 + sum0: |sum0| < 2^22 leaves sum1 whole. */
#ifndef TFL_SPARSE_V7M_H
#define TFL_SPARSE_V7M_H

#define TFL_SPARSE_PIXELS 2

/* Without a second pixel, give the first one twice. */
static inline void tfl_sparse_put(int32_t *x, unsigned words, const int8_t *const from[2], uint32_t count)
{
    const int8_t *a = from[0], *b = from[1];

    for (; count >= 2u; count -= 2u) {
        x[0] = b[0] * 0x800000 + a[0];
        x[words] = b[1] * 0x800000 + a[1];
        x += 2u * words;
        a += 2;
        b += 2;
    }
    if (count > 0) {
        *x = *b * 0x800000 + *a;
    }
}

#define TFL_NAKED static __attribute__((naked, noinline, unused))
#define TFL_UNUSED __attribute__((unused))

/* A group, whose mask is the upper byte of `mask`; N is its first bit. */
#define TFL_SPARSE_GROUP(mask, weight)                                       \
    "bpl 2f\n\t" weight "0\n2:\n\t"                                          \
    "lsls " mask ", #2\n\tbcc 2f\n\t" weight "1\n2:\n\tbpl 2f\n\t" weight "2\n2:\n\t" \
    "lsls " mask ", #2\n\tbcc 2f\n\t" weight "3\n2:\n\tbpl 2f\n\t" weight "4\n2:\n\t" \
    "lsls " mask ", #2\n\tbcc 2f\n\t" weight "5\n2:\n\tbpl 2f\n\t" weight "6\n2:\n\t" \
    "lsls " mask ", #2\n\tbcc 2f\n\t" weight "7\n2:\n\t"

/* high, low: 64 bits of two sums, apart. C: the first one is negative. */
#define TFL_SPARSE_PART(low, high)       \
    "lsrs r12, " low ", #23\n\t"         \
    "adc " high ", r12, " high ", lsl #9\n\t" \
    "sbfx " low ", " low ", #0, #23\n\t"

/* Eight pixels. */
TFL_NAKED const int8_t *tfl_sparse_lanes_4(int32_t *sums TFL_UNUSED, const int32_t *x TFL_UNUSED,
                                           const int8_t *w TFL_UNUSED, const int32_t *end TFL_UNUSED)
{
    __asm volatile(".macro tfl_weight_4 i\n\t"
                   "ldrsb lr, [r2], #1\n\t"
                   "ldrd r0, r12, [r1, #16 * \\i]\n\t"
                   "smlal r4, r5, lr, r0\n\t"
                   "smlal r6, r7, lr, r12\n\t"
                   "ldrd r0, r12, [r1, #16 * \\i + 8]\n\t"
                   "smlal r8, r9, lr, r0\n\t"
                   "smlal r10, r11, lr, r12\n\t"
                   ".endm\n\t"
                   "push {r0, r3-r11, lr}\n\t"
                   "movs r4, #0\n\tmovs r5, #0\n\tmovs r6, #0\n\tmovs r7, #0\n\t"
                   "mov r8, r4\n\tmov r9, r4\n\tmov r10, r4\n\tmov r11, r4\n"
                   "1:\n\t"
                   "ldrb r3, [r2], #1\n\t"
                   "lsls r3, #24\n\t"
                   "beq 3f\n\t"
                   TFL_SPARSE_GROUP("r3", "tfl_weight_4 ")
                   "3:\n\t"
                   "ldr r0, [sp, #4]\n\t"
                   "adds r1, #128\n\t"
                   "cmp r1, r0\n\t"
                   "bne 1b\n\t"
                   TFL_SPARSE_PART("r4", "r5")
                   TFL_SPARSE_PART("r6", "r7")
                   TFL_SPARSE_PART("r8", "r9")
                   TFL_SPARSE_PART("r10", "r11")
                   "pop {r0, r3}\n\t"
                   "stm r0, {r4-r11}\n\t"
                   "mov r0, r2\n\t"
                   "pop {r4-r11, pc}\n\t"
                   ".purgem tfl_weight_4");
}

/* Four pixels. */
TFL_NAKED const int8_t *tfl_sparse_lanes_2(int32_t *sums TFL_UNUSED, const int32_t *x TFL_UNUSED,
                                           const int8_t *w TFL_UNUSED, const int32_t *end TFL_UNUSED)
{
    __asm volatile(".macro tfl_weight_2 i\n\t"
                   "ldrsb lr, [r2], #1\n\t"
                   "ldrd r8, r12, [r1, #8 * \\i]\n\t"
                   "smlal r4, r5, lr, r8\n\t"
                   "smlal r6, r7, lr, r12\n\t"
                   ".endm\n\t"
                   "push {r4-r9, lr}\n\t"
                   "movs r4, #0\n\tmovs r5, #0\n\tmovs r6, #0\n\tmovs r7, #0\n"
                   "1:\n\t"
                   "ldrb r9, [r2], #1\n\t"
                   "lsls r9, #24\n\t"
                   "beq 3f\n\t"
                   TFL_SPARSE_GROUP("r9", "tfl_weight_2 ")
                   "3:\n\t"
                   "adds r1, #64\n\t"
                   "cmp r1, r3\n\t"
                   "bne 1b\n\t"
                   TFL_SPARSE_PART("r4", "r5")
                   TFL_SPARSE_PART("r6", "r7")
                   "stm r0, {r4-r7}\n\t"
                   "mov r0, r2\n\t"
                   "pop {r4-r9, pc}\n\t"
                   ".purgem tfl_weight_2");
}

static inline const int8_t *tfl_sparse_lanes(int32_t *sums, const int32_t *x, const int8_t *w, const int32_t *end,
                                             unsigned words)
{
    return words == 4u ? tfl_sparse_lanes_4(sums, x, w, end) : tfl_sparse_lanes_2(sums, x, w, end);
}

#define TFL_HALVES "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\t"
#define TFL_SPARSE_BEGIN                                                    \
    ".macro tfl_weight sum\n\t"                                             \
    "ldrsb r12, [r2], #1\n\t"                                               \
    "mla \\sum, r12, lr, \\sum\n\t"                                         \
    ".endm\n\t"                                                             \
    ".macro tfl_four half, s0, s1, s2, s3\n\t"                              \
    ".if \\half & 8\n\ttfl_weight \\s0\n\t.endif\n\t"                       \
    ".if \\half & 4\n\ttfl_weight \\s1\n\t.endif\n\t"                       \
    ".if \\half & 2\n\ttfl_weight \\s2\n\t.endif\n\t"                       \
    ".if \\half & 1\n\ttfl_weight \\s3\n\t.endif\n\t"                       \
    ".endm\n\t"                                                             \
    ".macro tfl_upper half\n\ttfl_four \\half, r4, r5, r6, r7\n\t.endm\n\t" \
    ".macro tfl_lower half\n\ttfl_four \\half, r8, r9, r10, r11\n\t.endm\n\t" \
    ".macro tfl_input\n\tldrsb lr, [r1], #1\n\t.endm\n\t"                   \
    ".macro tfl_next\n\t"                                                   \
    "ldrb r3, [r2], #1\n\t"                                                 \
    "ldr pc, [r0, r3, lsl #2]\n\t"                                          \
    ".endm\n\t"                                                             \
    "push {r3-r11, lr}\n\t"                                                 \
    "ldm r0, {r4-r11}\n\t"                                                  \
    "adr.w r0, 1f\n\t"                                                      \
    "tfl_next\n\t"                                                          \
    ".balign 4\n\t"
/* The jump for a group without weights, which alone can be the one behind the last, and the way out. */
#define TFL_SPARSE_END                                                      \
    "2:\n\t"                                                                \
    "ldr r12, [sp]\n\t"                                                     \
    "cmp r1, r12\n\t"                                                       \
    "beq 3f\n\t"                                                            \
    "adds r1, #1\n\t"                                                       \
    "tfl_next\n"                                                            \
    "3:\n\t"                                                                \
    "ldr r12, [sp, #40]\n\t"                                                \
    "stm r12, {r4-r11}\n\t"                                                 \
    "mov r0, r2\n\t"                                                        \
    "pop {r3-r11, pc}\n\t"                                                  \
    ".purgem tfl_weight\n\t.purgem tfl_four\n\t.purgem tfl_next\n\t"        \
    ".purgem tfl_upper\n\t.purgem tfl_lower\n\t.purgem tfl_input"

#if TFL_SPARSE_LARGE

/* A mask is a jump to the code for its weights. */
TFL_NAKED const int8_t *tfl_sparse_columns(const int32_t bias[TFL_GROUP] TFL_UNUSED, const int8_t *x TFL_UNUSED,
                                           const int8_t *w TFL_UNUSED, const int8_t *end TFL_UNUSED,
                                           int32_t sums[TFL_GROUP] TFL_UNUSED)
{
    __asm volatile(TFL_SPARSE_BEGIN
                   "1:\n\t"
                   ".word 2f + 1\n\t"
                   ".irp low, " TFL_HALVES
                   ".word .Ltfl_0_\\low + 1\n\t"
                   ".endr\n\t"
                   ".irp high, " TFL_HALVES
                   ".irp low, 0, " TFL_HALVES
                   ".word .Ltfl_\\high\\()_\\low + 1\n\t"
                   ".endr\n\t"
                   ".endr\n\t"
                   ".irp high, 0, " TFL_HALVES
                   ".irp low, 0, " TFL_HALVES
                   ".if \\high + \\low\n"
                   ".Ltfl_\\high\\()_\\low:\n\t"
                   "tfl_input\n\ttfl_upper \\high\n\ttfl_lower \\low\n\ttfl_next\n\t"
                   ".endif\n\t"
                   ".endr\n\t"
                   ".endr\n"
                   TFL_SPARSE_END);
}

#else

/* A mask is a jump to the code for its upper four bits, by a table of 256 addresses, and from there to that for its lower
   four: with all bits above them set, they are -16..-1. Masks with an empty half take one jump. */
TFL_NAKED const int8_t *tfl_sparse_columns(const int32_t bias[TFL_GROUP] TFL_UNUSED, const int8_t *x TFL_UNUSED,
                                           const int8_t *w TFL_UNUSED, const int8_t *end TFL_UNUSED,
                                           int32_t sums[TFL_GROUP] TFL_UNUSED)
{
    __asm volatile(TFL_SPARSE_BEGIN
                   ".word 0\n\t"
                   ".irp half, " TFL_HALVES
                   ".word .Ltfl_lower_\\half + 1\n\t"
                   ".endr\n"
                   "1:\n\t"
                   ".word 2f + 1\n\t"
                   ".irp half, " TFL_HALVES
                   ".word .Ltfl_no_upper_\\half + 1\n\t"
                   ".endr\n\t"
                   ".irp half, " TFL_HALVES
                   ".word .Ltfl_no_lower_\\half + 1\n\t"
                   ".rept 15\n\t.word .Ltfl_upper_\\half + 1\n\t.endr\n\t"
                   ".endr\n\t"
                   ".irp half, " TFL_HALVES
                   "\n.Ltfl_upper_\\half:\n\t"
                   "tfl_input\n\ttfl_upper \\half\n\t"
                   "orn r12, r3, #15\n\t"
                   "ldr pc, [r0, r12, lsl #2]\n"
                   ".Ltfl_no_lower_\\half:\n\t"
                   "tfl_input\n\ttfl_upper \\half\n\ttfl_next\n"
                   ".Ltfl_no_upper_\\half:\n\t"
                   "tfl_input\n"
                   ".Ltfl_lower_\\half:\n\t"
                   "tfl_lower \\half\n\ttfl_next\n\t"
                   ".endr\n"
                   TFL_SPARSE_END);
}

#endif

#undef TFL_HALVES
#undef TFL_SPARSE_BEGIN
#undef TFL_SPARSE_END
#undef TFL_SPARSE_GROUP
#undef TFL_SPARSE_PART
#endif
