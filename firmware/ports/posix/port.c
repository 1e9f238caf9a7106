/* A board as a process, for tests and fleets without hardware:

   firmware --listen unix:PATH | --fd N  [--image FILE] [--cache BYTES] [--name NAME] [--device HEX]
            [--store FILE [--cut N]]

   --listen serves one client after another until SIGTERM or the end of the parent process; --fd takes a connected socket and
   ends with it. The end of the parent is seen by getppid(): the death signal of Linux comes when the parent's *thread* ends.
   --device gives the eight bytes that tell this board from others; without it they come from the name. --store: see flash.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "flash.h"
#include "tfl/tfl_image.h"
#include "tfl/tfl_port.h"
#include "tfl/tfl_wire.h"

#define DEFAULT_CACHE 0x100000u
#define MAX_CACHE 0x10000000u
#define MAX_IMAGE 0x7FFFFFFF
#define WATCH_MS 200 /* how late the end of the parent is seen */

struct line {
    int listener; /* -1: none */
    int client;   /* -1: none */
    pid_t parent;
    int dice; /* open on /dev/urandom */
    const char *path;
    struct tfl_image image;
};

static struct line line = {-1, -1, 0, -1, NULL, {0}};
static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static int gone(void)
{
    return stopped != 0 || getppid() != line.parent;
}

/* The client has left: the next one, if there can be one. */
static int hang_up(void)
{
    (void)close(line.client);
    line.client = -1;
    return line.listener >= 0 ? 0 : TFL_ERROR_LINK;
}

static int not_now(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static int line_read(void *context, uint8_t *data, size_t size)
{
    ssize_t count;

    (void)context;
    if (gone()) {
        return TFL_ERROR_LINK;
    }
    if (line.client < 0) {
        line.client = accept(line.listener, NULL, NULL);
        if (line.client < 0) {
            return 0;
        }
        (void)fcntl(line.client, F_SETFL, O_NONBLOCK);
    }
    count = recv(line.client, data, size, 0);
    if (count > 0) {
        return (int)count;
    }
    return count < 0 && not_now() ? 0 : hang_up();
}

static void await(short events)
{
    struct pollfd wanted = {line.client >= 0 ? line.client : line.listener, events, 0};

    (void)poll(&wanted, 1, WATCH_MS);
}

/* What a client that left does not get is lost, as on a serial line. */
static int line_write(void *context, const uint8_t *data, size_t size)
{
    size_t done = 0;

    (void)context;
    while (done < size && line.client >= 0) {
        ssize_t count = send(line.client, data + done, size - done, MSG_NOSIGNAL);

        if (count >= 0) {
            done += (size_t)count;
        } else if (!not_now()) {
            if (hang_up() < 0) {
                return TFL_ERROR_LINK;
            }
        } else if (gone()) {
            return TFL_ERROR_LINK;
        } else {
            await(POLLOUT);
        }
    }
    return (int)size;
}

static void line_idle(void *context)
{
    (void)context;
    await(POLLIN);
}

static int image_sample(void *context, unsigned split, uint32_t index, int8_t *x, uint8_t *label)
{
    (void)context;
    return tfl_image_sample(&line.image, split, index, x, label);
}

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", what, why);
    return TFL_ERROR_ARGUMENT;
}

/* All of a file in memory that is never freed; null and errno where it cannot be read. */
static uint8_t *read_file(const char *path, uint32_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long length;

    if (file == NULL) {
        return NULL;
    }
    errno = EINVAL;
    if (fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0 && length <= MAX_IMAGE) {
        rewind(file);
        data = malloc((size_t)length + 1u);
        *size = (uint32_t)length;
        if (data != NULL && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    (void)fclose(file);
    return data;
}

static int open_image(struct tfl_port *port, const char *path)
{
    uint32_t size = 0;
    uint8_t *data = read_file(path, &size);

    if (data == NULL) {
        return fail(path, strerror(errno));
    }
    if (tfl_image_open(&line.image, data, size) != 0) {
        return fail(path, "no data image, or a damaged one");
    }
    port->sample = image_sample;
    tfl_image_describe(&line.image, port);
    return 0;
}

static void forget_path(void)
{
    (void)unlink(line.path);
}

static int listen_at(const char *text)
{
    struct sockaddr_un address = {0};
    const char *path = text + 5;

    if (strncmp(text, "unix:", 5) != 0 || strlen(path) == 0u || strlen(path) >= sizeof address.sun_path) {
        return fail(text, "expected unix:PATH of at most 107 bytes");
    }
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, strlen(path));
    line.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (line.listener < 0 || bind(line.listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(line.listener, 4) != 0 || fcntl(line.listener, F_SETFL, O_NONBLOCK) != 0) {
        return fail(path, strerror(errno));
    }
    line.path = path;
    (void)atexit(forget_path);
    (void)printf("listening on %s\n", text);
    (void)fflush(stdout);
    return 0;
}

/* A decimal number up to most; -1 for anything else. */
static long number(const char *text, long most)
{
    char *end;
    long value = strtol(text, &end, 10);

    return *text == '\0' || *end != '\0' || value < 0 || value > most ? -1 : value;
}

static int open_cache(struct tfl_port *port, const char *text)
{
    long bytes = number(text, MAX_CACHE);

    if (bytes < 0) {
        return fail(text, "expected bytes of cache");
    }
    port->cache = malloc((size_t)bytes + 1u);
    port->cache_bytes = (uint32_t)bytes;
    return port->cache != NULL ? 0 : fail(text, "no memory");
}

static int open_descriptor(const char *text)
{
    line.client = (int)number(text, 1 << 20);
    return line.client >= 0 && fcntl(line.client, F_SETFL, O_NONBLOCK) == 0 ? 0 : fail(text, "no open descriptor");
}

/* There is no way to report it, and a board must not go on with numbers that can be guessed. */
static uint32_t dice_random(void *context)
{
    uint32_t word = 0;

    (void)context;
    if (read(line.dice, &word, sizeof word) != (ssize_t)sizeof word) {
        perror("/dev/urandom");
        abort();
    }
    return word;
}

static int open_dice(struct tfl_port *port)
{
    line.dice = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    port->random = dice_random;
    return line.dice >= 0 ? 0 : fail("/dev/urandom", strerror(errno));
}

static int open_store(struct tfl_port *port, const char *path, const char *cut)
{
    long operation = cut != NULL ? number(cut, LONG_MAX - 1) : 0;

    if (operation < 0) {
        return fail(cut, "expected which flash operation to cut");
    }
    return flash_open(port, path, operation) == 0 ? 0 : fail(path, strerror(errno));
}

static void set_word(uint8_t *bytes, uint32_t word)
{
    for (unsigned i = 0; i < 4u; i++) {
        bytes[i] = (uint8_t)(word >> (8u * i));
    }
}

/* Eight bytes in hex, or, where text is null, from the name: without one this board is like any other. */
static int set_device(struct tfl_port *port, const char *text)
{
    unsigned byte;

    if (text == NULL) {
        if (port->name[0] != '\0') {
            set_word(port->device, tfl_crc32(0, (const uint8_t *)port->name, sizeof port->name));
            set_word(port->device + 4, tfl_crc32(1, (const uint8_t *)port->name, sizeof port->name));
        }
        return 0;
    }
    if (strlen(text) != 2u * sizeof port->device || strspn(text, "0123456789abcdefABCDEF") != strlen(text)) {
        return fail(text, "expected a device id of 16 hex digits");
    }
    for (unsigned i = 0; i < sizeof port->device && sscanf(text + 2u * i, "%2x", &byte) == 1; i++) {
        port->device[i] = (uint8_t)byte;
    }
    return 0;
}

static void set_name(struct tfl_port *port, const char *name)
{
    size_t length = strlen(name);

    memset(port->name, 0, sizeof port->name);
    memcpy(port->name, name, length < sizeof port->name ? length : sizeof port->name);
}

struct arguments {
    const char *listen, *fd, *image, *cache, *name, *device, *store, *cut;
};

static int parse(struct arguments *arguments, int argc, char **argv)
{
    const struct {
        const char *option;
        const char **value;
    } options[] = {
        {"--listen", &arguments->listen}, {"--fd", &arguments->fd},         {"--image", &arguments->image},
        {"--cache", &arguments->cache},   {"--name", &arguments->name},     {"--device", &arguments->device},
        {"--store", &arguments->store},   {"--cut", &arguments->cut},
    };
    const unsigned count = sizeof options / sizeof options[0];

    for (int i = 1; i < argc; i += 2) {
        unsigned k = 0;

        while (k < count && strcmp(argv[i], options[k].option) != 0) {
            k++;
        }
        if (k == count || i + 1 == argc) {
            return fail(argv[i], "unknown option, or one without its value");
        }
        *options[k].value = argv[i + 1];
    }
    if ((arguments->listen == NULL) == (arguments->fd == NULL)) {
        return fail(argv[0], "expected --listen unix:PATH or --fd N");
    }
    return arguments->cut == NULL || arguments->store != NULL ? 0 : fail("--cut", "expected with --store");
}

static void catch_signals(void)
{
    struct sigaction action = {0};

    action.sa_handler = stop;
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
}

static uint32_t boot_id(void)
{
    struct timespec now = {0, 0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint32_t)now.tv_sec * 1000003u ^ (uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 8;
}

static void describe(struct tfl_port *port)
{
    memset(port, 0, sizeof *port);
    port->read = line_read;
    port->write = line_write;
    port->idle = line_idle;
    port->boot = boot_id();
    port->window = UINT16_MAX;
}

int tfl_port_init(struct tfl_port *port, int argc, char **argv)
{
    struct arguments arguments = {0};
    char cache[16];

    (void)snprintf(cache, sizeof cache, "%u", DEFAULT_CACHE);
    arguments.cache = cache;
    line.parent = getppid();
    catch_signals();
    describe(port);
    if (parse(&arguments, argc, argv) != 0 || open_cache(port, arguments.cache) != 0 || open_dice(port) != 0 ||
        (arguments.image != NULL && open_image(port, arguments.image) != 0)) {
        return TFL_ERROR_ARGUMENT;
    }
    if (arguments.name != NULL) {
        set_name(port, arguments.name);
    }
    if (set_device(port, arguments.device) != 0 ||
        (arguments.store != NULL && open_store(port, arguments.store, arguments.cut) != 0)) {
        return TFL_ERROR_ARGUMENT;
    }
    return arguments.fd != NULL ? open_descriptor(arguments.fd) : listen_at(arguments.listen);
}
