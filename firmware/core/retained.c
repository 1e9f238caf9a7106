#include "retained.h"

#include <stddef.h>
#include <string.h>

#include "fixed.h"

static uint32_t check_of(const struct tfl_retained *r)
{
    return tfl_crc32(0, (const uint8_t *)r, offsetof(struct tfl_retained, check));
}

static uint32_t unit_digest(const struct tfl_retained *r, const uint8_t *body, uint32_t i)
{
    uint32_t at = i * TFL_UNIT;
    uint8_t number[2];

    tfl_store16_le(number, (uint16_t)i);
    return tfl_crc32(tfl_crc32(0, number, sizeof number), body + at, tfl_least(TFL_UNIT, r->length - at));
}

void tfl_retained_forget(struct tfl_retained *r)
{
    memset(r, 0, sizeof *r);
}

uint32_t tfl_retained_recall(struct tfl_retained *r, const uint8_t *body, uint32_t body_bytes)
{
    uint32_t units = 0, count = 0;

    if (r->type == 0u || r->type > 0xFFu || r->length > body_bytes || r->check != check_of(r)) {
        tfl_retained_forget(r);
        return 0;
    }
    for (uint32_t i = 0; i < tfl_units(r->length); i++) {
        if (tfl_bit(r->bitmap, i)) {
            units ^= unit_digest(r, body, i);
            count++;
        }
    }
    if (units != r->units) {
        tfl_retained_forget(r);
        return 0;
    }
    return count;
}

void tfl_retained_begin(struct tfl_retained *r, uint8_t type, uint32_t length, uint32_t digest)
{
    tfl_retained_forget(r);
    r->type = type;
    r->length = length;
    r->digest = digest;
    r->check = check_of(r);
}

uint32_t tfl_retained_add(struct tfl_retained *r, uint8_t *body, uint32_t first, const uint8_t *data, uint32_t size)
{
    uint32_t count = 0;

    for (uint32_t at = 0; at < size; at += TFL_UNIT) {
        uint32_t unit = first + at / TFL_UNIT;

        if (!tfl_bit(r->bitmap, unit)) {
            memcpy(body + unit * TFL_UNIT, data + at, tfl_least(TFL_UNIT, size - at));
            tfl_bit_set(r->bitmap, unit);
            r->units ^= unit_digest(r, body, unit);
            count++;
        }
    }
    r->check = check_of(r);
    return count;
}
