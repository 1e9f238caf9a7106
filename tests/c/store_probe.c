/* store.c over a flash in memory that enforces the rules, and ends the world at a chosen operation. Commands on stdin, one a
   line; each answers with one line:

   new PAGES BYTES FILL     flash of that many pages, each byte FILL (hex), or of noise from seed FILL where it is s<number>
   save | restore           the whole flash
   flip OFFSET MASK         damages a byte
   cut COUNT HOW            the COUNT-th operation (erase, program) from now on is torn, see tear(); HOW 5: it fails instead
   blind COUNT              the COUNT-th read from now on fails
   mount PAYLOAD            status boot capacity
   write ROUND HEAD RESIDUAL  status (HEAD, RESIDUAL: hex, or - for nothing; the model hash is 16 bytes of ROUND)
   find                     round head residual, or none, or bad: <status>
   enrol KEY | key          status | the key, or none
   count                    erases, programs, bytes programmed since the last count

   A command that was cut answers "cut": nothing but save, restore, cut and mount may follow. */
#include "store.h"
#include "torn_flash.h"

#define LINE 0x4000u

static uint32_t unhex(const char *text, uint8_t *data)
{
    uint32_t size = 0;
    unsigned byte;

    while (*text != '-' && sscanf(text + 2u * size, "%2x", &byte) == 1) {
        data[size++] = (uint8_t)byte;
    }
    return size;
}

static void put_hex(const uint8_t *data, uint32_t size)
{
    (void)printf(size == 0u ? " -" : " ");
    for (uint32_t i = 0; i < size; i++) {
        (void)printf("%02x", data[i]);
    }
}

static void make_flash(unsigned pages, unsigned bytes, const char *fill)
{
    flash.port = (struct tfl_flash){flash_read, flash_program, flash_erase, bytes, pages};
    rule(size_of_flash() <= FLASH_MOST, "larger than the probe's");
    flash.random = (uint32_t)strtoul(fill + 1, NULL, 10) * 2u + 1u;
    for (uint32_t i = 0; i < size_of_flash(); i++) {
        flash.memory[i] = fill[0] == 's' ? noise() : (uint8_t)strtoul(fill, NULL, 16);
    }
    flash.cut = 0;
    flash.blind = 0;
}

static void find(const struct tfl_store *store)
{
    struct tfl_kept kept;
    uint8_t payload[LINE];
    int status = tfl_store_find(store, &kept);

    if (status == 0) {
        (void)printf("none");
        return;
    }
    if (status == 1) {
        status = tfl_store_read(store, 0, payload, kept.head_bytes + kept.residual_bytes);
    }
    if (status != 0) {
        (void)printf("bad: %d", status);
        return;
    }
    for (unsigned i = 0; i < sizeof kept.model; i++) {
        rule(kept.model[i] == (uint8_t)kept.round, "a model hash of another record");
    }
    (void)printf("%u", (unsigned)kept.round);
    put_hex(payload, kept.head_bytes);
    put_hex(payload + kept.head_bytes, kept.residual_bytes);
}

static void give(void *context, uint32_t offset, uint8_t *data, uint32_t size)
{
    memcpy(data, (const uint8_t *)context + offset, size);
}

static int write_record(struct tfl_store *store, unsigned round, const char *head, const char *residual)
{
    static uint8_t bytes[2 * LINE];
    struct tfl_kept kept = {.round = round};

    memset(kept.model, (int)(round & 0xFFu), sizeof kept.model);
    kept.head_bytes = unhex(head, bytes);
    kept.residual_bytes = unhex(residual, bytes + kept.head_bytes);
    return tfl_store_write(store, &kept, give, bytes);
}

static void set_up(const char *name, const char *const *word)
{
    long number = strtol(word[0], NULL, 10);

    if (strcmp(name, "new") == 0) {
        make_flash((unsigned)number, (unsigned)strtoul(word[1], NULL, 10), word[2]);
    } else if (strcmp(name, "save") == 0) {
        memcpy(flash.saved, flash.memory, FLASH_MOST);
    } else if (strcmp(name, "restore") == 0) {
        memcpy(flash.memory, flash.saved, FLASH_MOST);
    } else if (strcmp(name, "flip") == 0) {
        flash.memory[number] ^= (uint8_t)strtoul(word[1], NULL, 16);
    } else if (strcmp(name, "cut") == 0) {
        flash.cut = number;
        flash.how = (int)strtol(word[1], NULL, 10);
    } else if (strcmp(name, "blind") == 0) {
        flash.blind = number;
    } else {
        rule(0, name);
    }
    (void)printf("ok");
}

static void use(struct tfl_store *store, const struct tfl_port *port, const char *name, const char *const *word)
{
    uint8_t key[LINE / 2u];

    if (strcmp(name, "mount") == 0) {
        int status = tfl_store_mount(store, port, (uint32_t)strtoul(word[0], NULL, 10));

        (void)printf("%d %u %u", status, (unsigned)store->boot, (unsigned)store->capacity);
    } else if (strcmp(name, "write") == 0) {
        (void)printf("%d", write_record(store, (unsigned)strtoul(word[0], NULL, 10), word[1], word[2]));
    } else if (strcmp(name, "find") == 0) {
        find(store);
    } else if (strcmp(name, "enrol") == 0) {
        rule(unhex(word[0], key) == 32u, "keys have 32 bytes");
        (void)printf("%d", tfl_store_enrol(store, key));
    } else if (strcmp(name, "key") == 0) {
        int status = tfl_store_key(store, key);

        if (status == 1) {
            put_hex(key, 32);
        } else {
            (void)printf(status == 0 ? "none" : "bad: %d", status);
        }
    } else if (strcmp(name, "count") == 0) {
        (void)printf("%u %u %u", flash.erases, flash.programs, flash.bytes);
        flash.erases = flash.programs = flash.bytes = 0;
    } else {
        set_up(name, word);
    }
}

int main(void)
{
    static char line[2][LINE];
    static struct tfl_store store;
    static struct tfl_port port = {.context = &flash, .flash = &flash.port, .boot = 7000000};
    char name[16], first[LINE], second[LINE], third[LINE];

    while (fgets(line[0], LINE, stdin) != NULL) {
        const char *const words[3] = {first, second, third};

        first[0] = second[0] = third[0] = '\0';
        rule(sscanf(line[0], "%15s %8000s %8000s %8000s", name, first, second, third) >= 1, "a command");
        if (setjmp(flash.dark) == 0) {
            use(&store, &port, name, words);
            flash.cut = strcmp(name, "cut") == 0 ? flash.cut : 0;
            flash.blind = strcmp(name, "blind") == 0 ? flash.blind : 0;
        } else {
            memset(&store, 0xA5, sizeof store); /* RAM is lost */
            (void)printf("cut");
        }
        (void)printf("\n");
        (void)fflush(stdout);
    }
    return 0;
}
