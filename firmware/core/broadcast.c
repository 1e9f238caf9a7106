/* Read twice: weights that are not whole and right leave those before untouched, and there is no room for two. */
#include "broadcast.h"

#include "tfl/tfl_wire.h"

#define MAX_POWER 7u         /* 127 * 2^7 is within +-TFL_MAX_WEIGHT, -128 * 2^7 is not and gets refused */
#define MAX_PARAMETER 15u    /* of Rice coding */
#define MAX_SYMBOL 0xFFFFu   /* a difference is within +-2 * TFL_MAX_WEIGHT = +-32766 */
#define DIFFERENCE_AT 5u     /* behind the CRC-32 of the new weights and the parameter */

struct coded {
    const struct tfl_tensor *tensor;
    const uint8_t *bytes;
    uint32_t size, bit;
    unsigned coding, parameter; /* the power, or Rice coding's */
};

/* The next bit; beyond the end a zero, which ends every run. */
static uint32_t take_bit(struct coded *c)
{
    uint32_t at = c->bit++;

    return at / 8u < c->size ? (uint32_t)c->bytes[at / 8u] >> at % 8u & 1u : 0u;
}

/* A symbol, or something larger than MAX_SYMBOL. */
static uint32_t take_symbol(struct coded *c)
{
    uint32_t symbol = 0;

    while (symbol <= MAX_SYMBOL && take_bit(c) != 0u) {
        symbol += 1u << c->parameter; /* <= 2^16 + 2^15 */
    }
    for (unsigned i = 0; i < c->parameter; i++) {
        symbol += take_bit(c) << i;
    }
    return symbol;
}

/* Weight i, all before it having been taken; what is out of range stays out of it. */
static int32_t take(struct coded *c, uint32_t i)
{
    uint32_t symbol;

    if (c->coding == TFL_CODING_INT16) {
        int32_t w = tfl_load16_le(c->bytes + 2u * i);

        return w >= 0x8000 ? w - 0x10000 : w;
    }
    if (c->coding == TFL_CODING_INT8) {
        int32_t w = c->bytes[1u + i];

        return (w >= 0x80 ? w - 0x100 : w) * (int32_t)(1u << c->parameter); /* |w| <= 2^14 */
    }
    symbol = take_symbol(c);
    if (symbol > MAX_SYMBOL) {
        return TFL_MAX_WEIGHT + 1;
    }
    return c->tensor->broadcast[i] + ((symbol & 1u) != 0u ? -(int32_t)(symbol / 2u) - 1 : (int32_t)(symbol / 2u));
}

/* How many bytes there must be is known before, or, of a difference, once all have been taken. */
static int begin(struct coded *c)
{
    if (c->coding == TFL_CODING_INT16) {
        return c->size == 2u * c->tensor->count ? 0 : TFL_ERROR_LENGTH;
    }
    if (c->coding == TFL_CODING_INT8) {
        if (c->size != 1u + c->tensor->count) {
            return TFL_ERROR_LENGTH;
        }
        c->parameter = c->bytes[0];
        return c->parameter <= MAX_POWER ? 0 : TFL_ERROR_ARGUMENT;
    }
    if (c->coding != TFL_CODING_DIFFERENCE) {
        return TFL_ERROR_ARGUMENT;
    }
    if (c->size < DIFFERENCE_AT) {
        return TFL_ERROR_LENGTH;
    }
    c->parameter = c->bytes[DIFFERENCE_AT - 1u];
    c->bit = 8u * DIFFERENCE_AT;
    return c->parameter <= MAX_PARAMETER ? 0 : TFL_ERROR_ARGUMENT;
}

static int check(struct coded c)
{
    uint32_t crc = 0;

    for (uint32_t i = 0; i < c.tensor->count; i++) {
        int32_t w = take(&c, i);
        uint8_t bytes[2];

        if (w < -TFL_MAX_WEIGHT || w > TFL_MAX_WEIGHT) {
            return c.coding == TFL_CODING_DIFFERENCE ? TFL_ERROR_DIGEST : TFL_ERROR_ARGUMENT;
        }
        tfl_store16_le(bytes, (uint16_t)(w & 0xFFFF));
        crc = tfl_crc32(crc, bytes, sizeof bytes);
    }
    if (c.coding != TFL_CODING_DIFFERENCE) {
        return 0;
    }
    if ((c.bit + 7u) / 8u != c.size) {
        return TFL_ERROR_LENGTH;
    }
    return crc == tfl_load32_le(c.bytes) ? 0 : TFL_ERROR_DIGEST;
}

int tfl_broadcast_load(const struct tfl_tensor *tensor, unsigned coding, const uint8_t *bytes, uint32_t size)
{
    struct coded c = {.tensor = tensor, .bytes = bytes, .size = size, .coding = coding};
    int status = begin(&c);

    if (status == 0) {
        status = check(c);
    }
    if (status != 0) {
        return status;
    }
    for (uint32_t i = 0; i < tensor->count; i++) {
        tensor->broadcast[i] = (int16_t)take(&c, i);
    }
    return 0;
}
