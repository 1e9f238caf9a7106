/* lanes.h for CPUs with Helium: VMLADAVA adds sixteen products of int8. Inputs stay bytes, in blocks of sixteen: block
   0 of each lane, then block 1 of each lane, and so on, with zeros behind the last input. Two filters at a time, since
   eight sums are what the registers hold. */
#ifndef TFL_LANES_MVE_H
#define TFL_LANES_MVE_H

#include "mve.h"

#define TFL_BLOCK_BYTES 16u
#define TFL_LANE_WORDS 4 /* from one lane to the next */
#define TFL_RUN TFL_BLOCK_BYTES
#define TFL_RUN_WORDS(run) ((run) / 4u)

/* As many as the compiler counts on, four where they fit: blocks may need more than the inputs. */
#define TFL_AT_ONCE(words, row) (TFL_LANES * (((row) + 15u) & ~15u) <= 4u * (words) * (row) ? TFL_LANES : (words))

static inline void tfl_lane_put(int32_t *lane, unsigned lanes, const int8_t *x, uint32_t count)
{
    int8_t *to = (int8_t *)lane;
    uint32_t blocks = count / TFL_BLOCK_BYTES;

    __asm volatile("wls lr, %[blocks], 2f\n"
                   "1:\n\t"
                   "vldrb.u8 q0, [%[x]], #16\n\t"
                   "vstrb.8 q0, [%[to]]\n\t"
                   "add %[to], %[step]\n\t"
                   "le lr, 1b\n"
                   "2:"
                   : [x] "+r"(x), [to] "+r"(to)
                   : [step] "r"(TFL_BLOCK_BYTES * lanes), [blocks] "r"(blocks)
                   : "lr", "q0", "memory");
    if (count % TFL_BLOCK_BYTES > 0) {
        vstrbq_s8(to, vldrbq_z_s8(x, vctp8q(count % TFL_BLOCK_BYTES)));
    }
}

/* All outputs of one lane among several, for any kind of requantisation. Behind a row lie other weights or the zeros
   that the compiler puts behind the last one: the lane holds zeros there. */
static TFL_ALONE void tfl_lane_filters(const struct tfl_conv2d *op, const int32_t *lane, uint32_t lanes, int8_t *out)
{
    const int32_t *words = op->scaling.channels;
    const int8_t *row = op->weights;

    for (const int8_t *end = out + op->window.out_c; out != end; out++) {
        const int8_t *x = (const int8_t *)lane;
        const int8_t *w = row;
        int32_t acc = words[0];

        for (row += op->row; w < row; w += TFL_BLOCK_BYTES) {
            acc = vmladavaq_s8(acc, vldrbq_s8(x), vldrbq_s8(w));
            x += TFL_BLOCK_BYTES * lanes;
        }
        *out = tfl_scale(&op->scaling, acc, words);
        words += 4;
    }
}

/* The range of filters for tfl_filters: a pair, and 16 bits hold how far four pixels' outputs are from each other. */
#define TFL_FILTERS_LEAST 2u
#define TFL_FILTERS_MOST 21844u

/* What tfl_filter_pairs has no registers for. */
struct tfl_pairs {
    const int32_t *x;
    uint32_t blocks; /* behind the first one */
    const int32_t *words;
    int8_t *out;
    const int32_t *end; /* of words */
    uint32_t step;      /* from the last block of a pair of rows to the next pair */
};

/* where: from `out` to each lane's output, and to the one behind it */
static TFL_ALONE void tfl_filter_pairs(struct tfl_pairs *pairs, const int8_t *w0, const int8_t *w1, uint16x8_t where,
                                       int16x8_t low, int16x8_t high)
{
    const int32_t *x;
    uint32_t blocks;

#define TFL_BLOCK_OF_LANES(vmladav)            \
    "vldrb.u8 q0, [%[w0]], #16\n\t"            \
    "vldrb.u8 q1, [%[w1]], #16\n\t"            \
    "vldrw.u32 q2, [%[x]], #16\n\t"            \
    "vldrw.u32 q3, [%[x]], #16\n\t"            \
    vmladav " r0, q0, q2\n\t"                  \
    vmladav " r8, q1, q2\n\t"                  \
    "vldrw.u32 q2, [%[x]], #16\n\t"            \
    vmladav " r2, q0, q3\n\t"                  \
    vmladav " r10, q1, q3\n\t"                 \
    "vldrw.u32 q3, [%[x]], #16\n\t"            \
    vmladav " r4, q0, q2\n\t"                  \
    vmladav " r12, q1, q2\n\t"                 \
    vmladav " r6, q0, q3\n\t"                  \
    vmladav " lr, q1, q3\n\t"
#define TFL_ROUNDED(acc, result)               \
    "ldmia r12!, {r0, r2, r4, r6}\n\t"         \
    "vadd.i32 " acc ", " acc ", r0\n\t"        \
    "vshr.s32 " result ", " acc ", #31\n\t"    \
    "vadd.i32 " result ", " result ", r4\n\t"  \
    "vqrdmlah.s32 " result ", " acc ", r2\n\t" \
    "vshl.s32 " result ", r6\n\t"
    /* One block, one more if those behind it are odd, then two a turn. VMOV: the first register goes to the lower
       lane. */
    __asm volatile("1:\n\t"
                   "ldrd %[x], %[blocks], [%[pairs]]\n\t"
                   TFL_BLOCK_OF_LANES("vmladav.s8")
                   "lsrs %[blocks], %[blocks], #1\n\t"
                   "bcc 2f\n\t"
                   TFL_BLOCK_OF_LANES("vmladava.s8")
                   "2:\n\t"
                   "beq 4f\n"
                   "3:\n\t"
                   TFL_BLOCK_OF_LANES("vmladava.s8")
                   TFL_BLOCK_OF_LANES("vmladava.s8")
                   "subs %[blocks], #1\n\t"
                   "bne 3b\n"
                   "4:\n\t"
                   "vmov q0[2], q0[0], r0, r4\n\t"
                   "vmov q0[3], q0[1], r2, r6\n\t"
                   "vmov q1[2], q1[0], r8, r12\n\t"
                   "vmov q1[3], q1[1], r10, lr\n\t"
                   "ldrd r12, lr, [%[pairs], #8]\n\t"
                   "ldrd r8, r10, [%[pairs], #16]\n\t"
                   TFL_ROUNDED("q0", "q2")
                   TFL_ROUNDED("q1", "q3")
                   "vqmovnb.s32 q0, q2\n\t"
                   "vqmovnt.s32 q0, q3\n\t"
                   "vmax.s16 q0, q0, %q[low]\n\t"
                   "vmin.s16 q0, q0, %q[high]\n\t"
                   "vstrb.16 q0, [lr, %q[where]]\n\t"
                   "add lr, #2\n\t"
                   "strd r12, lr, [%[pairs], #8]\n\t"
                   "add %[w0], r10\n\t"
                   "add %[w1], r10\n\t"
                   "cmp r12, r8\n\t"
                   "bne 1b"
                   : [x] "=&r"(x), [blocks] "=&r"(blocks), [w0] "+r"(w0), [w1] "+r"(w1)
                   : [pairs] "r"(pairs), [where] "w"(where), [low] "w"(low), [high] "w"(high)
                   : "r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr", "q0", "q1", "q2", "q3", "cc", "memory");
#undef TFL_ROUNDED
#undef TFL_BLOCK_OF_LANES
}

/* Two filters at a time for four lanes; where the number of filters is odd, the last but one once more. */
static TFL_ALONE void tfl_filters(const struct tfl_conv2d *op, const int32_t *x, int8_t *const out[TFL_LANES])
{
    uint32_t count = op->window.out_c;
    uint16_t offsets[2u * TFL_LANES];
    struct tfl_pairs pairs;

    for (unsigned lane = 0; lane < TFL_LANES; lane++) {
        offsets[2u * lane] = (uint16_t)(out[lane] - out[0]);
        offsets[2u * lane + 1u] = (uint16_t)(offsets[2u * lane] + 1u);
    }
    pairs.x = x;
    pairs.blocks = (op->row - 1u) / TFL_BLOCK_BYTES;
    pairs.step = 2u * op->row - TFL_BLOCK_BYTES * (pairs.blocks + 1u);
    for (uint32_t c = 0; c < count; c += count - 2u) {
        const int8_t *w = op->weights + c * op->row;

        pairs.words = op->scaling.channels + 4u * c;
        pairs.end = op->scaling.channels + 4u * (c > 0 ? count : count & ~1u);
        pairs.out = out[0] + c;
        tfl_filter_pairs(&pairs, w, w + op->row, vldrhq_u16(offsets), vdupq_n_s16(op->scaling.low),
                         vdupq_n_s16(op->scaling.high));
        if (c > 0 || (count & 1u) == 0u) {
            return;
        }
    }
}

#endif
