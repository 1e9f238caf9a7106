/* A script of mounts, writes, enrolments and power cuts over a small flash, and of damage: bytes changed, records forged with
   the right digest. While only the power failed, each mount must find what was written last, or what was being written, and a
   boot that was never there; after damage it must only stay inside the flash and keep its rules. */
#include "../c/torn_flash.h"
#include "fixed.h"
#include "store.h"

#define PAGES 7u
#define PAGE_BYTES 256u
#define SLOT_BYTES (PAGES / 2u * PAGE_BYTES)
#define PAYLOAD 500u
#define HEADER_BYTES 36u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    const uint8_t *next, *end;
    struct tfl_store store;
    struct tfl_port port;
    uint32_t boot, round;        /* of the last mount; of the last write that was begun */
    uint32_t record, new_record; /* rounds that may be found; 0: none */
    uint8_t key, new_key;        /* first bytes of the keys that may be found */
    uint8_t mounted, damaged;
} run;

static uint8_t take(void)
{
    return run.next < run.end ? *run.next++ : 0u;
}

static uint32_t take32(void)
{
    uint32_t value = take();

    value |= (uint32_t)take() << 8;
    value |= (uint32_t)take() << 16;
    return value | (uint32_t)take() << 24;
}

/* Each byte of a record tells its round, so that a mixture is seen. */
static uint8_t content(uint32_t round, uint32_t i)
{
    return (uint8_t)(round * 37u + i);
}

static void check_record(void)
{
    static uint8_t payload[SLOT_BYTES];
    struct tfl_kept kept = {.round = 0};
    int found = tfl_store_find(&run.store, &kept);
    uint32_t size = kept.head_bytes + kept.residual_bytes;

    rule(found >= 0, "find failed");
    if (found == 1) {
        rule(kept.head_bytes <= SLOT_BYTES && size <= SLOT_BYTES && size >= kept.head_bytes, "a record out of its slot");
        rule(tfl_store_read(&run.store, 0, payload, size) == 0, "its payload is not there");
        rule(tfl_store_read(&run.store, 1, payload, size) < 0, "its payload is longer");
    }
    if (run.damaged) {
        return;
    }
    rule(found == 1 ? kept.round == run.record || kept.round == run.new_record : run.record == 0u, "another record");
    for (uint32_t i = 0; found == 1 && i < size; i++) {
        rule(payload[i] == content(kept.round, i), "a mixture");
    }
    run.record = run.new_record = found == 1 ? kept.round : 0u;
}

static void check_key(void)
{
    uint8_t key[32] = {0};
    int found = tfl_store_key(&run.store, key);

    rule(found >= 0, "no key could be read");
    rule(run.damaged || (found == 1 ? key[0] == run.key || key[0] == run.new_key : run.key == 0u), "another key");
    run.key = run.new_key = key[0];
}

static void mount(void)
{
    run.mounted = 0;
    if (tfl_store_mount(&run.store, &run.port, PAYLOAD) == 0) {
        rule(run.damaged || run.store.boot > run.boot, "a boot that was there before");
        run.mounted = 1;
        run.boot = run.store.boot;
        check_record();
        check_key();
    }
}

static void give(void *context, uint32_t offset, uint8_t *data, uint32_t size)
{
    memcpy(data, (const uint8_t *)context + offset, size);
}

static void write_record(void)
{
    static uint8_t payload[2u * 256u];
    struct tfl_kept kept = {.round = ++run.round};

    kept.head_bytes = 1u + take();
    kept.residual_bytes = take();
    for (uint32_t i = 0; i < sizeof payload; i++) {
        payload[i] = content(kept.round, i);
    }
    if (kept.head_bytes + kept.residual_bytes <= PAYLOAD) {
        run.new_record = kept.round;
    }
    if (tfl_store_write(&run.store, &kept, give, payload) == 0) {
        run.record = kept.round;
    }
}

static void enrol(void)
{
    uint8_t key[32];
    int status;

    memset(key, take() | 1, sizeof key);
    run.new_key = key[0];
    status = tfl_store_enrol(&run.store, key);
    run.key = status == 0 ? key[0] : run.key;
    run.new_key = status == TFL_ERROR_SPACE ? run.key : run.new_key;
}

/* A record with any header and the digest that a board would find for it, where its lengths let it compute one. */
static void forge(void)
{
    uint8_t *slot = flash.memory + PAGE_BYTES + (take() & 1u) * SLOT_BYTES, *header = slot + 8;
    uint32_t size;

    tfl_store32_le(header, take32());
    tfl_store32_le(header + 28, take32());
    tfl_store32_le(header + 32, take32());
    size = HEADER_BYTES + tfl_load32_le(header + 28) + tfl_load32_le(header + 32);
    if (size <= (uint32_t)(flash.memory + size_of_flash() - header)) {
        memcpy(slot, "TFL1", 4);
        tfl_store32_le(slot + 4, tfl_crc32(0, header, size));
    }
    run.damaged = 1;
}

static void damage(void)
{
    uint32_t at = take();

    at = (at | (uint32_t)take() << 8) % size_of_flash();
    flash.memory[at] = take();
    run.damaged = 1;
}

static void step(void)
{
    switch (take() % 6u) {
    case 0:
        mount();
        break;
    case 1:
        flash.cut = 1 + take() % 16;
        flash.how = take() % 6;
        break;
    case 2:
        forge();
        run.mounted = 0; /* a board's flash does not change while it runs */
        break;
    case 3:
        damage();
        run.mounted = 0;
        break;
    case 4:
        if (run.mounted) {
            write_record();
        }
        break;
    default:
        if (run.mounted) {
            enrol();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&run, 0, sizeof run);
    run.next = data;
    run.end = data + size;
    run.port.context = &flash;
    run.port.flash = &flash.port;
    flash.port = (struct tfl_flash){flash_read, flash_program, flash_erase, PAGE_BYTES, PAGES};
    flash.cut = flash.blind = 0;
    flash.random = 1;
    memset(flash.memory, (take() & 1u) != 0u ? 0xFF : 0x00, size_of_flash());
    while (run.next < run.end) {
        if (setjmp(flash.dark) == 0) {
            step();
        } else {
            run.mounted = 0;
        }
    }
    return 0;
}
