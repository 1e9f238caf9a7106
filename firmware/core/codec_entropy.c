/* The interval of a message is cut in two at each decision, as likely as each half is, and its leading bytes leave as
   soon as they stand (Mahoney 2005, whose coder needs no carry). */
#include "codec_entropy.h"

#define EVEN 0x8000u  /* Q16 */
#define FIRST 0x5000u /* Q16: of the further bits of a magnitude; of the largest numbers EVEN */

/* Of a number after two zeros, after small ones, after larger ones: whether it is not 0. Q16. */
static const uint16_t starts[] = {0x4000, 0x8000, 0xA000};

void tfl_entropy_start(struct tfl_entropy *coder, uint8_t *out, uint32_t room, uint32_t sent, uint32_t of)
{
    uint32_t share = sent * 4096u / of; /* Q12, < 2^12 where it is used; sent <= 2^16 */

    *coder = (struct tfl_entropy){.out = out, .room = room, .high = 0xFFFFFFFFu, .last = 1, .before = 1};
    for (unsigned i = 0; i < TFL_ENTROPY_SIZES; i++) {
        for (unsigned c = 0; c < 3u; c++) {
            uint32_t one = sent < of ? (share > 0u ? share : 1u) * 16u : starts[c];
            uint32_t further = sent < of ? EVEN : FIRST;

            coder->larger[c][i].one = (uint16_t)(i > 0u ? further : one);
        }
        coder->second[i].one = FIRST;
    }
}

static void leave(struct tfl_entropy *coder, uint32_t byte)
{
    if (coder->size < coder->room) {
        coder->out[coder->size] = (uint8_t)byte;
    }
    coder->size++;
}

/* one: Q16, its upper 12 bits count. */
static void decide(struct tfl_entropy *coder, uint32_t one, unsigned bit)
{
    /* low <= middle < high, as both differ in their first byte and the chance is < 1; the product is < 2^32 */
    uint32_t middle = coder->low + ((coder->high - coder->low) >> 12) * (one >> 4);

    if (bit != 0u) {
        coder->high = middle;
    } else {
        coder->low = middle + 1u;
    }
    while (((coder->low ^ coder->high) >> 24) == 0u) {
        leave(coder, coder->high >> 24);
        coder->low <<= 8;
        coder->high = coder->high << 8 | 255u;
    }
}

/* The more a chance has seen, the less it learns: 1/4 of the error at first, 1/32 from the 14th decision on. */
static void learn(struct tfl_entropy *coder, struct tfl_chance *chance, unsigned bit)
{
    unsigned seen = chance->seen, rate = 2u + (seen > 0u ? 1u : 0u) + (seen > 4u ? 1u : 0u) + (seen > 12u ? 1u : 0u);
    uint32_t one = chance->one;

    decide(coder, one, bit);
    chance->one = (uint16_t)(bit != 0u ? one + ((0x10000u - one) >> rate) : one - (one >> rate)); /* < 2^16 */
    chance->seen = (uint8_t)(seen > 12u ? seen : seen + 1u);
}

void tfl_entropy_put(struct tfl_entropy *coder, int32_t q, uint32_t limit)
{
    uint32_t magnitude = q < 0 ? (uint32_t)-q : (uint32_t)q;
    unsigned around = coder->last + coder->before, bits = 0;
    struct tfl_chance *larger = coder->larger[around == 0u ? 0 : around < 3u ? 1 : 2];

    while (limit >> bits != 0u) {
        unsigned more = magnitude >> bits != 0u ? 1u : 0u;

        learn(coder, &larger[bits], more);
        if (more == 0u) {
            break;
        }
        bits++;
    }
    for (unsigned place = bits; place-- > 1u;) {
        unsigned bit = magnitude >> (place - 1u) & 1u;

        if (place + 1u == bits) {
            learn(coder, &coder->second[place], bit);
        } else {
            decide(coder, EVEN, bit);
        }
    }
    if (bits > 0u) {
        decide(coder, EVEN, q < 0 ? 1u : 0u);
    }
    coder->before = coder->last;
    coder->last = bits;
}

uint32_t tfl_entropy_end(struct tfl_entropy *coder)
{
    leave(coder, (coder->low >> 24) + 1u); /* and zeros from there on are within low..high */
    return coder->size;
}
