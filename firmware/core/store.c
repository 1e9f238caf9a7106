/* Page 0 holds keys; the other pages are two slots of one record each:

   seal | header | payload | boot marks up to the end of the record's last page

   The seal, magic and CRC-32 of what stands behind it, is programmed last: what a power cut tore has none. */
#include "store.h"

#include <string.h>

#include "fixed.h"

#define SEAL_BYTES 8u
#define HEADER_BYTES 36u /* sequence, boot, model, round, bytes of head and residual */
#define PAYLOAD_AT (SEAL_BYTES + HEADER_BYTES)
#define MARK_BYTES 4u
#define LEAST_MARKS 16u /* boots, at least, before a record is copied to have room for more */
#define RECORD_MAGIC 0x314C4654u /* "TFL1" */

#define KEY_BYTES 32u
#define KEY_RECORD_BYTES (SEAL_BYTES + KEY_BYTES)
#define KEY_MAGIC 0x4B4C4654u /* "TFLK" */
#define NOWHERE 0xFFFFFFFFu

#define PIECE_BYTES 64u
#define ERASED 0xFFu

struct record {
    uint32_t sequence;
    uint32_t boot; /* of the life that wrote it */
    struct tfl_kept kept;
};

/* Where the payload of a new record comes from: the caller, or (without one) the record before it. */
struct source {
    tfl_store_give give;
    void *context;
    uint32_t flash_at;
};

static int flash_read(const struct tfl_store *s, uint32_t at, uint8_t *data, uint32_t size)
{
    return s->port->flash->read(s->port->context, at, data, size);
}

static int flash_program(const struct tfl_store *s, uint32_t at, const uint8_t *data, uint32_t size)
{
    return s->port->flash->program(s->port->context, at, data, size);
}

static uint32_t page_bytes(const struct tfl_store *s)
{
    return s->port->flash->page_bytes;
}

static uint32_t slot_page(const struct tfl_store *s, unsigned slot)
{
    return 1u + slot * s->slot_pages;
}

static uint32_t slot_at(const struct tfl_store *s, unsigned slot)
{
    return slot_page(s, slot) * page_bytes(s);
}

/* The largest payload of a record. */
static uint32_t room(const struct tfl_store *s)
{
    return s->slot_pages * page_bytes(s) - PAYLOAD_AT - LEAST_MARKS * MARK_BYTES;
}

static uint32_t whole_words(uint32_t size)
{
    return (size + 3u) & ~3u;
}

static uint32_t payload_bytes(const struct tfl_kept *kept)
{
    return kept->head_bytes + kept->residual_bytes;
}

/* Of a record whose payload has room. */
static uint32_t record_pages(const struct tfl_store *s, const struct tfl_kept *kept)
{
    uint32_t size = PAYLOAD_AT + whole_words(payload_bytes(kept)) + LEAST_MARKS * MARK_BYTES;

    return (size + page_bytes(s) - 1u) / page_bytes(s);
}

static int fits(const struct tfl_kept *kept, uint32_t capacity)
{
    return kept->head_bytes <= capacity && kept->residual_bytes <= capacity - kept->head_bytes;
}

/* 1: the size bytes behind this seal are whole; 0: they are not; or TFL_ERROR_STORE. */
static int sealed(const struct tfl_store *s, uint32_t at, uint32_t magic, uint32_t size)
{
    uint8_t piece[PIECE_BYTES];
    uint32_t crc = 0, digest, take;
    int status = flash_read(s, at, piece, SEAL_BYTES);

    if (status != 0 || tfl_load32_le(piece) != magic) {
        return status;
    }
    digest = tfl_load32_le(piece + 4);
    for (at += SEAL_BYTES; size > 0u; at += take, size -= take) {
        take = size < PIECE_BYTES ? size : PIECE_BYTES;
        status = flash_read(s, at, piece, take);
        if (status != 0) {
            return status;
        }
        crc = tfl_crc32(crc, piece, take);
    }
    return crc == digest;
}

/* Seals what was programmed; what does not read back as it was written is an error, and no record. */
static int seal(const struct tfl_store *s, uint32_t at, uint32_t magic, uint32_t digest, uint32_t size)
{
    uint8_t data[SEAL_BYTES];
    int status;

    tfl_store32_le(data, magic);
    tfl_store32_le(data + 4, digest);
    status = flash_program(s, at, data, sizeof data);
    if (status == 0) {
        status = sealed(s, at, magic, size);
    }
    return status == 1 ? 0 : TFL_ERROR_STORE;
}

static int read_header(const struct tfl_store *s, unsigned slot, struct record *r)
{
    uint8_t header[HEADER_BYTES];
    int status = flash_read(s, slot_at(s, slot) + SEAL_BYTES, header, sizeof header);

    if (status == 0) {
        r->sequence = tfl_load32_le(header);
        r->boot = tfl_load32_le(header + 4);
        memcpy(r->kept.model, header + 8, TFL_MODEL_HASH_BYTES);
        r->kept.round = tfl_load32_le(header + 24);
        r->kept.head_bytes = tfl_load32_le(header + 28);
        r->kept.residual_bytes = tfl_load32_le(header + 32);
    }
    return status;
}

static void encode_header(uint8_t header[HEADER_BYTES], const struct record *r)
{
    tfl_store32_le(header, r->sequence);
    tfl_store32_le(header + 4, r->boot);
    memcpy(header + 8, r->kept.model, TFL_MODEL_HASH_BYTES);
    tfl_store32_le(header + 24, r->kept.round);
    tfl_store32_le(header + 28, r->kept.head_bytes);
    tfl_store32_le(header + 32, r->kept.residual_bytes);
}

/* 1: *r is this slot's record; 0: it holds none; or TFL_ERROR_STORE. */
static int find_record(const struct tfl_store *s, unsigned slot, struct record *r)
{
    int status = read_header(s, slot, r);

    if (status != 0 || r->sequence == 0u || !fits(&r->kept, room(s))) {
        return status;
    }
    return sealed(s, slot_at(s, slot), RECORD_MAGIC, HEADER_BYTES + payload_bytes(&r->kept));
}

static int fetch(const struct tfl_store *s, const struct source *source, uint32_t offset, uint8_t *piece, uint32_t size)
{
    if (source->give == 0) {
        return flash_read(s, source->flash_at + offset, piece, size);
    }
    source->give(source->context, offset, piece, size);
    return 0;
}

static int program_payload(const struct tfl_store *s, uint32_t at, const struct tfl_kept *kept,
                           const struct source *source, uint32_t *crc)
{
    uint8_t piece[PIECE_BYTES];
    uint32_t size = payload_bytes(kept), take;
    int status = 0;

    for (uint32_t offset = 0; status == 0 && offset < size; offset += take) {
        take = size - offset < PIECE_BYTES ? size - offset : PIECE_BYTES;
        memset(piece, ERASED, sizeof piece);
        status = fetch(s, source, offset, piece, take);
        *crc = tfl_crc32(*crc, piece, take);
        if (status == 0) {
            status = flash_program(s, at + offset, piece, whole_words(take));
        }
    }
    return status;
}

static int program_record(const struct tfl_store *s, unsigned slot, const struct record *r, const struct source *source)
{
    uint8_t header[HEADER_BYTES];
    uint32_t crc, at = slot_at(s, slot);
    int status;

    encode_header(header, r);
    crc = tfl_crc32(0, header, sizeof header);
    status = flash_program(s, at + SEAL_BYTES, header, sizeof header);
    if (status == 0) {
        status = program_payload(s, at + PAYLOAD_AT, &r->kept, source, &crc);
    }
    return status != 0 ? status : seal(s, at, RECORD_MAGIC, crc, HEADER_BYTES + payload_bytes(&r->kept));
}

/* A record in the slot that does not hold the newest one; boots count on from this life's. */
static int put(struct tfl_store *s, const struct tfl_kept *kept, const struct source *source)
{
    struct record r = {.sequence = s->sequence + 1u, .boot = s->boot, .kept = *kept};
    uint8_t slot = s->sequence != 0u && s->slot == 0u;
    uint32_t page = slot_page(s, slot), end = page + record_pages(s, kept);
    int status = 0;

    for (; status == 0 && page < end; page++) {
        status = s->port->flash->erase(s->port->context, page);
    }
    if (status == 0) {
        status = program_record(s, slot, &r, source);
    }
    if (status == 0) {
        s->sequence = r.sequence;
        s->slot = slot;
    }
    return status;
}

/* The first boot mark that is still erased, or the end of the record's pages. A torn mark counts like any other. */
static int find_mark(const struct tfl_store *s, uint32_t at, uint32_t end, uint32_t *free_at)
{
    static const uint8_t erased[MARK_BYTES] = {ERASED, ERASED, ERASED, ERASED};
    uint8_t mark[MARK_BYTES];
    int status = 0;

    for (; at < end; at += MARK_BYTES) {
        status = flash_read(s, at, mark, sizeof mark);
        if (status != 0 || memcmp(mark, erased, sizeof mark) == 0) {
            break;
        }
    }
    *free_at = at;
    return status;
}

/* This life's boot is one more than the newest record's and its marks; it is counted before anybody hears of it. */
static int count_boot(struct tfl_store *s, const struct record *newest)
{
    static const uint8_t mark[MARK_BYTES] = {0};
    uint32_t start = slot_at(s, s->slot), payload_at = start + PAYLOAD_AT;
    uint32_t marks_at = payload_at + whole_words(payload_bytes(&newest->kept));
    uint32_t end = start + record_pages(s, &newest->kept) * page_bytes(s), at;
    struct source source = {.flash_at = payload_at};
    int status = find_mark(s, marks_at, end, &at);

    if (status != 0) {
        return status;
    }
    s->boot = newest->boot + (at - marks_at) / MARK_BYTES + 1u;
    return at < end ? flash_program(s, at, mark, sizeof mark) : put(s, &newest->kept, &source);
}

static int find_newest(struct tfl_store *s, struct record *newest)
{
    for (uint8_t slot = 0; slot < 2u; slot++) {
        struct record r;
        int status = find_record(s, slot, &r);

        if (status < 0) {
            return status;
        }
        if (status == 1 && r.sequence > s->sequence) {
            *newest = r;
            s->sequence = r.sequence;
            s->slot = slot;
        }
    }
    return 0;
}

/* The slots' place depends on the flash alone: another model's firmware finds the boots that were counted before it. */
static int has_slots(struct tfl_store *s)
{
    const struct tfl_flash *flash = s->port->flash;

    if (flash == 0 || flash->page_count < 3u || flash->page_bytes % 4u != 0u ||
        flash->page_bytes < PAYLOAD_AT + LEAST_MARKS * MARK_BYTES) {
        return 0;
    }
    s->slot_pages = (flash->page_count - 1u) / 2u;
    return 1;
}

int tfl_store_mount(struct tfl_store *s, const struct tfl_port *port, uint32_t payload)
{
    static const struct source nothing = {0};
    struct record newest = {0};
    int status;

    memset(s, 0, sizeof *s);
    s->port = port;
    s->boot = port->boot;
    if (!has_slots(s)) {
        return 0;
    }
    status = find_newest(s, &newest);
    if (status == 0 && s->sequence == 0u) {
        s->boot = 1;
        status = put(s, &newest.kept, &nothing);
    } else if (status == 0) {
        status = count_boot(s, &newest);
    }
    if (status == 0) {
        s->capacity = payload <= room(s) ? payload : 0u;
    }
    return status;
}

int tfl_store_find(const struct tfl_store *s, struct tfl_kept *kept)
{
    struct record r;
    int status;

    if (s->sequence == 0u) {
        return 0;
    }
    status = read_header(s, s->slot, &r);
    *kept = r.kept;
    return status != 0 ? status : kept->head_bytes > 0u;
}

int tfl_store_read(const struct tfl_store *s, uint32_t offset, uint8_t *data, uint32_t size)
{
    struct tfl_kept kept;

    if (tfl_store_find(s, &kept) != 1 || offset > payload_bytes(&kept) || size > payload_bytes(&kept) - offset) {
        return TFL_ERROR_STORE;
    }
    return flash_read(s, slot_at(s, s->slot) + PAYLOAD_AT + offset, data, size);
}

void tfl_store_extend(struct tfl_store *s, uint32_t payload)
{
    if (s->capacity != 0u && payload > s->capacity && payload <= room(s)) {
        s->capacity = payload;
    }
}

int tfl_store_write(struct tfl_store *s, const struct tfl_kept *kept, tfl_store_give give, void *context)
{
    struct source source = {.give = give, .context = context};

    if (s->capacity == 0u) {
        return TFL_ERROR_STORE;
    }
    return fits(kept, s->capacity) ? put(s, kept, &source) : TFL_ERROR_SPACE;
}

/* The newest key that is whole, and the place behind all that was ever programmed. */
static int scan_keys(const struct tfl_store *s, uint32_t *newest, uint32_t *next)
{
    *newest = NOWHERE;
    *next = 0;
    for (uint32_t at = 0; at + KEY_RECORD_BYTES <= page_bytes(s); at += KEY_RECORD_BYTES) {
        uint8_t record[KEY_RECORD_BYTES], all = ERASED;
        int status = flash_read(s, at, record, sizeof record);

        if (status != 0) {
            return status;
        }
        for (unsigned i = 0; i < sizeof record; i++) {
            all &= record[i];
        }
        if (all != ERASED) {
            *next = at + KEY_RECORD_BYTES;
        }
        if (tfl_load32_le(record) == KEY_MAGIC &&
            tfl_load32_le(record + 4) == tfl_crc32(0, record + SEAL_BYTES, KEY_BYTES)) {
            *newest = at;
        }
    }
    return 0;
}

int tfl_store_key(const struct tfl_store *s, uint8_t key[32])
{
    uint32_t newest, next;
    int status;

    if (s->slot_pages == 0u) {
        return 0;
    }
    status = scan_keys(s, &newest, &next);
    if (status != 0 || newest == NOWHERE) {
        return status;
    }
    status = flash_read(s, newest + SEAL_BYTES, key, KEY_BYTES);
    return status != 0 ? status : 1;
}

int tfl_store_enrol(struct tfl_store *s, const uint8_t key[32])
{
    uint32_t newest, next;
    int status;

    if (s->slot_pages == 0u) {
        return TFL_ERROR_STORE;
    }
    status = scan_keys(s, &newest, &next);
    if (status == 0 && newest == NOWHERE) { /* nothing to lose: a page that was never erased, or torn keys */
        status = s->port->flash->erase(s->port->context, 0);
        next = 0;
    }
    if (status == 0 && next + KEY_RECORD_BYTES > page_bytes(s)) {
        return TFL_ERROR_SPACE;
    }
    if (status == 0) {
        status = flash_program(s, next + SEAL_BYTES, key, KEY_BYTES);
    }
    return status != 0 ? status : seal(s, next, KEY_MAGIC, tfl_crc32(0, key, KEY_BYTES), KEY_BYTES);
}
